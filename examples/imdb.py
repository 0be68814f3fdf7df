"""Texts: movie reviews as bags of words and word pairs.

The first layer is an embedding and, like every layer, has its own per-class goodness. Word pairs make it possible to
learn that "not boring" is positive. The figure shows the goodness of such pairs as whole reviews.

    python examples/imdb.py                                                    # a hundred synthetic sentences
    python examples/imdb.py --data imdb --data-dir DIR --epochs 5              # DIR contains the folder aclImdb
"""

import argparse
from itertools import product
from pathlib import Path

import torch
from matplotlib.figure import Figure

import forwardforward as ff
from forwardforward.data.text import Corpus, NGrams, ReviewFolder, Texts

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--data", default="sentences", choices=["sentences", "imdb"])
parser.add_argument("--data-dir", type=Path, default=Path("."), help="folder that contains aclImdb")
parser.add_argument("--epochs", type=int, default=40)
parser.add_argument("--out", type=Path, default=Path("runs/figures"), help="output folder of the figure")
args = parser.parse_args()

good, bad = ["wonderful", "gripping", "charming", "funny"], ["awful", "boring", "clumsy", "weak"]
if args.data == "sentences":
    parts = list(product(["film", "story", "acting", "music", "ending", "dialogue"], ["", "not "], good + bad))
    texts = [f"I thought the {subject} was {negation}{word}." for subject, negation, word in parts]
    labels = [int((word in good) == (negation == "")) for _, negation, word in parts]
    train_texts, train_labels, test_texts, test_labels = texts[:64], labels[:64], texts[64:], labels[64:]
else:
    reviews = ReviewFolder(args.data_dir / "aclImdb")
    train_texts, train_labels = reviews.labeled("train")
    test_texts, test_labels = reviews.labeled("test")
    train_texts, test_texts = Texts(train_texts, progress=True), Texts(test_texts, progress=True)

# The vocabulary of words and pairs is that of the training texts.
bags, corpus = NGrams(vocabulary=20_000, longest=2, length=256), Corpus(train_texts, test_texts)
encode = bags(corpus)
train = ff.TensorData(
    encode(corpus.train), torch.tensor(train_labels), num_classes=2, num_embeddings=bags.num_embeddings
)
test = ff.TensorData(encode(corpus.test), torch.tensor(test_labels), num_classes=2, num_embeddings=bags.num_embeddings)

torch.manual_seed(0)
model = ff.FFSequential(
    ff.layers.FFEmbeddingBag(bags.num_embeddings, 32, init_std=0.1),
    ff.FFLinear(32, 100),
    goodness=ff.goodness.LearnedProjection(num_classes=2),
    loss=ff.losses.CrossEntropy(),
    normalization=ff.normalization.RMSNorm(),
)
ff.fit(model, train, epochs=args.epochs, batch_size=10 if args.data == "sentences" else 100)
result = ff.evaluate(model, test)
print(f"test error {result.error:.2f} %, of each layer", *(f"{error:.2f}" for error in result.layer_errors))

# Goodness of short texts in each layer
snippets = [f"{prefix} {word}" for word, prefix in product(good + bad, ["was", "not"])]
goodness = model.layer_goodness(encode(snippets))
margins = goodness[:, :, 1] - goodness[:, :, 0]
figure = Figure(figsize=(8, 4.6), layout="constrained")
axes = figure.subplots(1, 2, sharey=True)
for layer, axis in enumerate(axes):
    colors = ["tab:blue" if margin > 0 else "tab:orange" for margin in margins[:, layer]]
    axis.barh(snippets, margins[:, layer], color=colors)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set(title=f"layer {layer}", xlabel="goodness of positive minus negative")
    axis.spines[["top", "right", "left"]].set_visible(False)
axes[0].invert_yaxis()
args.out.mkdir(parents=True, exist_ok=True)
figure.savefig(args.out / "imdb.png", dpi=80)
