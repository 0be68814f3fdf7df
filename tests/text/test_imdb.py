"""Networks for the data set `imdb`, and training from the command line."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import forwardforward as ff
from forwardforward.__main__ import main
from forwardforward.data import Splits, load
from forwardforward.data.text import (
    MeanVectors,
    NGrams,
    Representation,
    Word2Vec,
    WordSequence,
    WordVectors,
    tokenize,
    write_vectors,
)
from forwardforward.recipes import RECIPES, Recipe

NAMES = [name for name in RECIPES if name.startswith("imdb-")]
QUICK = [
    "--epochs",
    "2",
    "--batch-size",
    "8",
    "--threads",
    "1",
    "--device",
    "cpu",
    "--no-progress",
    "--widths",
    "12,12",
]


def small(representation: Representation | None) -> Representation:
    """The representation with sizes for few sentences."""
    if isinstance(representation, MeanVectors):
        return MeanVectors(Word2Vec(size=8, min_count=1, epochs=3), representation.weighting)
    return NGrams(300, 2, 30, 1) if isinstance(representation, NGrams) else WordSequence(300, 12)


# Embedding layers


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_a_bag_is_the_mean_of_its_vectors_without_padding(dtype: torch.dtype) -> None:
    layer = ff.layers.FFEmbeddingBag(6, 3, init_std=0.5)
    x = torch.tensor([[1, 5, 0, 0], [2, 2, 3, 0], [0, 0, 0, 0]], dtype=dtype)
    vectors = layer.block.weight
    expected = torch.stack([(vectors[1] + vectors[5]) / 2, (2 * vectors[2] + vectors[3]) / 3, torch.zeros(3)])
    torch.testing.assert_close(layer(x), expected.relu())


BAGS = torch.randint(0, 20, (40, 6), generator=torch.Generator().manual_seed(0))
CLASSES = torch.arange(40) % 3


def weighted_network(**options: Any) -> ff.FFSequential:
    torch.manual_seed(0)
    return ff.FFSequential(
        ff.layers.FFEmbeddingBag(20, 8, weighting="log-count-ratio"),
        goodness=ff.goodness.LearnedProjection(3),
        loss=ff.losses.CrossEntropy(),
        **options,
    )


def fitted_network(targets: torch.Tensor) -> ff.FFSequential:
    model = weighted_network()
    data = ff.TensorData(BAGS, targets, num_embeddings=20)
    ff.fit(model, data, epochs=1, batch_size=7, progress=False)
    return model


def test_the_weights_of_a_bag_are_log_count_ratios() -> None:
    model = fitted_network(CLASSES)
    block = model.layers[0].block
    counts = [[1 + int((BAGS[k == CLASSES] == e).sum()) for e in range(1, 20)] for k in range(3)]
    logs = [[math.log(count / sum(row)) for count in row] for row in counts]
    expected = torch.tensor([max(column) - min(column) for column in zip(*logs, strict=True)])
    torch.testing.assert_close(block.weights[1:], expected)
    soft = fitted_network(torch.eye(3)[CLASSES])
    torch.testing.assert_close(soft.layers[0].block.weights, block.weights)
    bags = torch.tensor([[3, 3, 5, 0, 0, 0], [0, 0, 0, 0, 0, 0]])
    mean = (2 * block.weights[3] * block.weight[3] + block.weights[5] * block.weight[5]) / 3
    torch.testing.assert_close(block(bags), torch.stack([mean, torch.zeros(8)]))


def test_a_weighting_is_fitted_before_the_first_step_only_and_saved(tmp_path: Path) -> None:
    model = weighted_network()
    with pytest.raises(ValueError, match="the weighting of the first layer must be fitted before the first step"):
        model.predict(BAGS)
    model = fitted_network(CLASSES)
    weights = model.layers[0].block.weights.clone()
    other = ff.TensorData(BAGS, (CLASSES + 1) % 3, num_embeddings=20)
    ff.fit(model, other, epochs=1, batch_size=7, progress=False, compile=True)
    assert torch.equal(model.layers[0].block.weights, weights)
    model.save_pretrained(tmp_path)
    loaded = ff.FFSequential.from_pretrained(tmp_path)
    assert torch.equal(loaded.predict_proba(BAGS), model.predict_proba(BAGS))
    program = ff.export.to_program(model)
    torch.testing.assert_close(program.module()(BAGS), model.predict_proba(BAGS))


def test_a_weighting_needs_classes() -> None:
    layer = ff.layers.FFEmbeddingBag(20, 8, weighting="log-count-ratio")
    goodness = ff.goodness.LearnedProjection(2)
    model = ff.FFSequential(layer, goodness=goodness, loss=ff.losses.BinaryCrossEntropy())
    data = ff.TensorData(BAGS, torch.stack([CLASSES == 0, CLASSES == 1], 1), num_embeddings=20)
    with pytest.raises(ValueError, match="weighting of FFEmbeddingBag needs classes as targets, got MultiLabel"):
        ff.fit(model, data, epochs=1, progress=False)
    with pytest.raises(ValueError, match="members must not contain an FFEmbeddingBag with a weighting"):
        ff.replicate(lambda: weighted_network(input_shape=(6,)), [0, 1])


def test_embedded_words_keep_their_order() -> None:
    layer = ff.layers.FFEmbedding(6, 3)
    x = torch.tensor([[0, 4, 1]])
    torch.testing.assert_close(layer(x)[0].T, layer.block[0].weight[x[0]])
    assert not layer(x)[0, :, 0].any()


def test_indices_are_dropped_only_in_training() -> None:
    layer = ff.layers.FFEmbedding(9, 2, dropout=0.5)
    x = torch.full((1, 2000), 3)
    dropped = (layer(x) == 0).all(1).float().mean()
    assert 0.4 < dropped < 0.6
    assert (layer.eval()(x) != 0).all()


@pytest.mark.parametrize("layer", [ff.layers.FFEmbedding, ff.layers.FFEmbeddingBag])
def test_embedding_layers_check_their_arguments_and_inputs(layer: type[ff.FFLayer]) -> None:
    for arguments, message in (
        ((1, 2), "num_embeddings must be"),
        ((2, 0), "features must be"),
        ((2, 2, 1.0), "dropout must be"),
    ):
        with pytest.raises(ValueError, match=message):
            layer(*arguments)
    with pytest.raises(TypeError, match="inputs of an embedding layer must be whole numbers"):
        layer(3, 2)(torch.zeros(1, 4))


def test_a_network_checks_its_inputs() -> None:
    model = RECIPES["imdb-bag"].replace(widths=(4, 4)).model((5,), 2)
    for images in (torch.zeros(2, 5), torch.zeros(2, 5, dtype=torch.bool)):
        with pytest.raises(TypeError, match="images must be whole numbers, which the first layer looks up"):
            model.predict(images)
    model = ff.FFSequential(
        ff.layers.FFEmbeddingBag(5, 4), goodness=ff.goodness.LearnedProjection(2), loss=ff.losses.CrossEntropy()
    )
    for images, indices in ((torch.tensor([[0, 5]]), r"0\.\.5"), (torch.tensor([[-1, 2]]), r"-1\.\.2")):
        with pytest.raises(
            ValueError, match=rf"images must be indices of the first layer's table, 0\.\.4, got {indices}"
        ):
            model.predict(images)
    with pytest.raises(TypeError, match=r"images must be of a floating type or uint8, got torch\.int32"):
        RECIPES["imdb-mono"].model((5,), 2).predict(torch.zeros(2, 5).int())


def test_sequences_are_pooled_in_equal_segments() -> None:
    x = torch.tensor([[[1.0, -3.0, 2.0, 4.0]]])
    pool = ff.pooling.SequencePool
    assert [pool(1, kind)(x).item() for kind in ("mean", "max")] == [1, 4]
    assert pool(2)(x).tolist() == [[-1, 3]]
    assert pool(1, "rms")(x).item() == pytest.approx(7.5**0.5)
    assert pool(3)(torch.zeros(2, 5, 7)).shape == (2, 15)
    with pytest.raises(ValueError, match=r"activations must be \(rows, channels, length\)"):
        pool()(torch.zeros(2, 3))


# Recipes


def small_recipe(name: str, reviews: Path) -> tuple[Recipe, Splits]:
    recipe = RECIPES[name]
    representation = small(recipe.representation)
    if isinstance(recipe.representation, MeanVectors):
        words = tuple({word: 0 for file in reviews.rglob("*.txt") for word in tokenize(file.read_text())})
        matrix = np.random.default_rng(0).normal(size=(len(words), 16)).astype(np.float32)
        write_vectors(reviews / "vectors", WordVectors(words, matrix))
        representation = MeanVectors(reviews / "vectors", recipe.representation.weighting)
    if (num := representation.num_embeddings) is not None:
        recipe = recipe.replace(architecture=dataclasses.replace(recipe.architecture, num_embeddings=num))
    recipe = recipe.replace(representation=representation, widths=(16,) * min(3, len(recipe.widths)))
    splits = load("imdb", reviews, representation=recipe.representation, progress=False)
    return recipe, splits


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.slow
def test_recipes_learn_to_classify_short_reviews(name: str, reviews: Path) -> None:
    recipe, splits = small_recipe(name, reviews)
    torch.manual_seed(0)
    model = recipe.model(splits.input_shape, splits.num_classes)
    optimizer = recipe.replace(lr=1e-2).local_optimizer()
    ff.fit(model, splits.train_and_validation, epochs=15, batch_size=8, optimizer=optimizer, progress=False)
    # A word that is in no training review weighs most in a mean of random vectors.
    means = isinstance(recipe.representation, MeanVectors)
    evaluation = ff.evaluate(model, splits.train_and_validation if means else splits.test)
    assert evaluation.error <= 15
    assert (evaluation.head_error is not None) == (name in ("imdb-symba", "imdb-threshold"))


@pytest.mark.parametrize("name", ["imdb-bag", "imdb-sequence"])
def test_no_gradient_crosses_a_layer_border(name: str, reviews: Path) -> None:
    recipe, splits = small_recipe(name, reviews)
    model = recipe.model(splits.input_shape, splits.num_classes)
    x = model.stack[0](splits.train.inputs[:4])
    assert x.requires_grad
    before = [p.clone() for p in model.stack[0].parameters()]
    last = range(len(model) - 1, len(model))
    model.step((splits.train.inputs[:4], splits.train.targets[:4]), recipe.local_optimizer(), groups=[last])
    assert all(torch.equal(after, earlier) for after, earlier in zip(model.stack[0].parameters(), before, strict=True))
    assert all(p.grad is None for p in model.stack[0].parameters())


@pytest.mark.slow
def test_a_recipe_is_trained_and_evaluated_from_the_command_line(
    reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    command = ["train", "imdb", "--data-dir", str(reviews), "--out", str(run), *QUICK]
    assert main([*command, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["recipe"], summary["trained_on"]) == ("imdb-trigrams", "all training images")
    assert main(["evaluate", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["test_error"] == summary["test_error"]
    assert main(["train", "imdb", "--recipe", "imdb-bag", "--data-dir", str(tmp_path / "nowhere"), *QUICK]) == 2
    assert "missing the folder aclImdb" in capsys.readouterr().err


@pytest.mark.slow
def test_vectors_from_a_file_replace_training_of_word2vec(
    reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("wonderful", "loved", "superb", "great", "dreadful", "hated", "awful", "terrible")
    matrix = torch.randn(8, 5, generator=torch.Generator().manual_seed(0)).numpy()
    write_vectors(tmp_path / "own.bin", WordVectors(words, matrix))
    start = ["train", "imdb", "--data-dir", str(reviews), "--vectors", str(tmp_path / "own.bin"), *QUICK, "--recipe"]
    assert main([*start, "imdb-bag", "--out", str(tmp_path / "bag")]) == 2
    assert "--vectors must be left out for the recipe imdb-bag, which does not use any" in capsys.readouterr().err
    run = tmp_path / "run"
    assert main([*start, "imdb-mono", "--out", str(run)]) == 0
    assert json.loads((run / "config.json").read_text())["vectors"] == str(tmp_path / "own.bin")
    assert torch.load(run / "checkpoint.pt", weights_only=True)["model"]["layers.0.block.weight"].shape == (12, 5)
    assert not list(reviews.glob("word2vec-*"))
    (tmp_path / "own.bin").unlink()
    assert main([*start, "imdb-mono", "--out", str(tmp_path / "second")]) == 2
    assert "--vectors: " in capsys.readouterr().err


def test_word2vec_without_gensim_is_an_error_of_one_line(
    reviews: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "gensim.models", None)
    assert main(["train", "imdb", "--recipe", "imdb-symba", "--data-dir", str(reviews), *QUICK]) == 2
    line = capsys.readouterr().err
    assert line == ("forwardforward: training Word2Vec needs gensim: pip install gensim, or use a file of vectors\n")


@pytest.mark.shared_data
def test_a_bag_of_words_learns_the_real_reviews(shared_data_dir: Path) -> None:
    if not (shared_data_dir / "aclImdb").is_dir():
        pytest.skip("the folder of data sets does not contain aclImdb")
    splits = load("imdb", shared_data_dir, representation=NGrams(), progress=False)
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [20_000, 5_000, 25_000]
    for part in (splits.train, splits.validation, splits.test):
        assert part.targets.bincount().tolist() == [len(part) // 2] * 2
        assert (part.inputs > 0).any(1).all()
    recipe = RECIPES["imdb-bag"]
    model = recipe.model(splits.input_shape, 2)
    ff.fit(
        model, splits.train, epochs=1, batch_size=recipe.batch_size, optimizer=recipe.local_optimizer(), progress=False
    )
    assert ff.evaluate(model, splits.validation).error < 15
