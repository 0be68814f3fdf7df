"""
Texts
=====

Sentences as bags of words and word pairs. The first layer is an embedding and, like every layer, has its own per-
class goodness. Word pairs make it possible to learn that "not boring" is positive. The sentences are synthetic;
recipes such as ``imdb-bag`` train on the reviews of IMDb.
"""

from itertools import product

import matplotlib.pyplot as plt
import torch

import forwardforward as ff
from forwardforward.data.text import Corpus, NGrams

good, bad = ["wonderful", "gripping", "charming", "funny"], ["awful", "boring", "clumsy", "weak"]
parts = list(product(["film", "story", "acting", "music", "ending", "dialogue"], ["", "not "], good + bad))
texts = [f"I thought the {subject} was {negation}{word}." for subject, negation, word in parts]
labels = [int((word in good) == (negation == "")) for _, negation, word in parts]

bags, corpus = NGrams(vocabulary=20_000, longest=2, length=256), Corpus(texts[:64], texts[64:])
encode = bags(corpus)  # the vocabulary is that of the training texts
train = ff.TensorData(encode(corpus.train), labels[:64], num_embeddings=bags.num_embeddings)
test = ff.TensorData(encode(corpus.test), labels[64:], num_embeddings=bags.num_embeddings)

torch.manual_seed(0)
model = ff.FFSequential(
    ff.layers.FFEmbeddingBag(bags.num_embeddings, 32, init_std=0.1),
    ff.FFLinear(32, 100),
    goodness=ff.goodness.LearnedProjection(num_classes=2),
    loss=ff.losses.CrossEntropy(),
    normalization=ff.normalization.RMSNorm(),
)
ff.fit(model, train, epochs=40, batch_size=10, progress=False)
print(ff.evaluate(model, test))

# %%
# The goodness of short texts in each layer.

snippets = [f"{prefix} {word}" for word, prefix in product(good + bad, ["was", "not"])]
goodness = model.layer_goodness(encode(snippets))
margins = goodness[:, :, 1] - goodness[:, :, 0]
figure, axes = plt.subplots(1, 2, figsize=(8, 4.6), layout="constrained", sharex=True, sharey=True)
for layer, axis in enumerate(axes):
    colors = ["tab:blue" if margin > 0 else "tab:orange" for margin in margins[:, layer]]
    axis.barh(snippets, margins[:, layer], color=colors)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set(title=f"layer {layer}", xlabel="goodness of positive minus negative")
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)
axes[0].invert_yaxis()
plt.show()
