"""Labels and batches of other forms: accepted if their meaning is certain, else refused with a line that fixes them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, Subset, default_collate

import forwardforward as ff
from forwardforward.data.tensors import TensorData

X = torch.rand(30, 6, generator=torch.Generator().manual_seed(0))
Y = torch.arange(30) % 3
ROWS = list(zip(X, Y, strict=True))


def pairs(num_classes: int = 3, **plugins: Any) -> ff.FFSequential:
    torch.manual_seed(0)
    return ff.FFSequential(
        ff.FFLinear(6 + num_classes, 8),
        ff.FFLinear(8, 7),
        goodness=ff.goodness.MeanOfSquares(),
        loss=ff.losses.SymBa(),
        label_encoder=ff.label_encoders.Concatenation(num_classes),
        **plugins,
    )


def classes(num_classes: int = 3) -> ff.FFSequential:
    torch.manual_seed(0)
    goodness = ff.goodness.LearnedProjection(num_classes)
    return ff.FFSequential(ff.FFLinear(6, 8), goodness=goodness, loss=ff.losses.CrossEntropy())


def weights(data: Any, model: ff.network.Network | None = None) -> list[Tensor]:
    """Return the weights after an epoch."""
    model = pairs() if model is None else model
    ff.fit(model, data, epochs=1, batch_size=10, progress=False)
    return [parameter.detach() for parameter in model.parameters()]


def loader(rows: Any, **options: Any) -> DataLoader[Any]:
    return DataLoader(rows, batch_size=10, **options)


INTEGERS = [torch.int8, torch.int16, torch.int32, torch.uint8, torch.uint16, torch.uint32, torch.uint64]


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_labels_of_every_integer_type_give_the_same_weights_and_errors(dtype: torch.dtype) -> None:
    labels = Y.to(dtype)
    expected, by_loader = weights((X, Y)), weights(loader(ROWS))
    for data, reference in (((X, labels), expected), (loader(list(zip(X, labels, strict=True))), by_loader)):
        assert all(torch.equal(*pair) for pair in zip(weights(data), reference, strict=True))
    model = pairs()
    assert ff.evaluate(model, (X, labels)) == ff.evaluate(model, (X, Y))
    expected_step = model.local_losses((X, Y), torch.Generator().manual_seed(0))[0].loss
    assert torch.equal(model.local_losses((X, labels), torch.Generator().manual_seed(0))[0].loss, expected_step)


def numpy_collate(rows: Any) -> tuple[Any, Any]:
    images, labels = zip(*rows, strict=True)
    return np.stack(images), np.array(labels)


def reversed_collate(rows: Any) -> tuple[Any, Any]:
    images, labels = numpy_collate(rows[::-1])
    return images[::-1], labels.astype(np.uint16)[::-1]


def listed_collate(rows: Any) -> list[Any]:
    images, labels = numpy_collate(rows)
    return [images.astype(">f4"), labels.tolist()]


@pytest.mark.parametrize("collate", [numpy_collate, reversed_collate, listed_collate])
def test_loaders_of_arrays_and_lists_are_read_as_those_of_tensors(collate: Any) -> None:
    arrays = list(zip(X.numpy(), Y.numpy(), strict=True))
    for given, expected in zip(weights(loader(arrays, collate_fn=collate)), weights(loader(ROWS)), strict=True):
        assert torch.equal(given, expected)


@pytest.mark.parametrize(
    "labels", [Y.tolist(), tuple(Y.tolist()), list(Y), list(Y.numpy()), Subset(Y, range(30)), ["abc"[i] for i in Y]]
)
def test_lists_of_labels_and_data_sets_of_labels_are_read_as_tensors(labels: Any) -> None:
    assert all(torch.equal(*pair) for pair in zip(weights((X, labels)), weights((X, Y)), strict=True))
    assert torch.equal(TensorData(X, labels).targets, Y)  # type: ignore[arg-type]


class Library:
    """A data set of another library: a length, and samples by index."""

    def __len__(self) -> int:
        return 30

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return ROWS[index]


def test_a_data_set_of_another_library_is_read_by_index() -> None:
    assert ff.evaluate(pairs(), Library()) == ff.evaluate(pairs(), (X, Y))
    assert torch.equal(pairs().predict(Library()), pairs().predict(X))


def three(index: int) -> tuple[Tensor, Tensor, int]:
    return X[index], Y[index], index


def named(index: int) -> dict[str, Any]:
    return {"image": X[index], "label": Y[index], "path": "a"}


class Stream(IterableDataset[Any]):
    """A data set without indices."""

    def __iter__(self) -> Iterator[Any]:
        return map(three, range(30))


@pytest.mark.parametrize(
    ("rows", "kind", "row"),
    [
        (list(map(three, range(30))), "list of 3", "row[0], row[1]"),
        (list(map(named, range(30))), "dict of 3", "row['image'], row['label']"),
        (Stream(), "list of 3", "row[0], row[1]"),
    ],
    ids=["triples", "dictionaries", "stream"],
)
def test_samples_of_another_form_are_refused_with_a_line_that_selects_two_values(
    rows: Any, kind: str, row: str
) -> None:
    data = rows if isinstance(rows, list) else loader(rows)
    for function in (weights, pairs().predict, lambda data: ff.evaluate(pairs(), data)):
        with pytest.raises(TypeError) as refused:
            function(data)
        expected = f"data must yield images or (images, labels), got a {kind}; this selects them: DataLoader(data, "
        assert str(refused.value).startswith(expected)
    line = str(refused.value).split("this selects them: ")[1]
    assert row in line
    fixed = eval(line, {"DataLoader": loader, "data": rows, "torch": torch})  # the line works as it stands
    assert all(torch.equal(*pair) for pair in zip(weights(fixed), weights(loader(ROWS)), strict=True))


def words(rows: Any) -> tuple[Tensor, list[str]]:
    return default_collate([image for image, _ in rows]), ["abc"[int(label)] for _, label in rows]


def nothing(rows: Any) -> tuple[Tensor, list[None]]:
    return default_collate([image for image, _ in rows]), [None for _ in rows]


def lists(rows: Any) -> list[Any]:
    return [[image.tolist() for image, _ in rows], [int(label) for _, label in rows]]


@pytest.mark.parametrize(
    ("collate", "message"),
    [
        (words, r"^labels of a data set or loader must be integers, got 'a'; names.index\(label\) numbers them"),
        (nothing, r"^labels must be integers, got \[None, None"),
        (lists, "^images must be a tensor or a numpy array, got list$"),
    ],
)
def test_batches_of_other_types_are_refused_by_name(collate: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        weights(loader(ROWS, collate_fn=collate))


ONE_HOT = nn.functional.one_hot(Y, 3)


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (Y + 1, ValueError, r"^labels must be in 0\.\.2 for 3 classes, got 1\.\.3: count from 0, as in labels - 1$"),
        (Y - 1, ValueError, r"^labels must be .*, got -1"),
        (Y * 30_000, ValueError, r"^labels must be in 0\.\.2 for 3 classes, got 0\.\.60000$"),
        (ONE_HOT, ValueError, r"^labels must be .*; of one-hot labels, labels.argmax\(1\)$"),
        (Y[:, None], ValueError, r"^labels must be .*; labels.squeeze\(1\) removes the column$"),
        (Y.double(), TypeError, r"^labels must be .*, got torch.float64; labels.long\(\) converts them$"),
        (Y + 0.5, TypeError, r"^labels must be .*, got torch.float32$"),
        (Y > 0, TypeError, r"^labels must be .*, got torch.bool; labels.long\(\) converts them$"),
        (Y.to(torch.complex64), TypeError, r"^labels must be .*, got torch.complex64$"),
    ],
    ids=["from 1", "from -1", "stray", "one-hot", "column", "floats", "halves", "bool", "complex"],
)
@pytest.mark.parametrize("use", ["fit", "evaluate", "choose_layers", "step", "probe", "distributions"])
@pytest.mark.parametrize("as_loader", [False, True], ids=["tensors", "loader"])
def test_wrong_labels_are_refused_alike_in_every_use_with_a_line_that_fixes_them(
    labels: Tensor, error: type[Exception], message: str, use: str, as_loader: bool
) -> None:
    if use == "probe" and int(labels.real.max()) > 2:  # its classes are those of the data, see the next test
        return
    message = message.replace("labels", "(labels|targets)")
    data: Any = loader(list(zip(X, labels, strict=True))) if as_loader else (X, labels)
    model = classes()
    model.classifier = ff.classifiers.BestInterval()
    uses: dict[str, Callable[[], Any]] = {
        "fit": lambda: weights(data, model),
        "evaluate": lambda: ff.evaluate(model, data),
        "choose_layers": lambda: ff.training.choose_layers(model, data),
        "step": lambda: model.step((X, labels), ff.LocalOptimizer(torch.optim.SGD, lr=0.1)),
        "probe": lambda: ff.diagnostics.probe(model, data, data, epochs=1),
        "distributions": lambda: ff.diagnostics.goodness_distributions(model, data),
    }
    with pytest.raises(error, match=message):
        uses[use]()


def test_a_probe_reads_other_classes_than_the_models_but_no_stray_label() -> None:
    assert len(ff.diagnostics.probe(classes(), (X, Y + 1), (X, Y + 1), epochs=1)) == len(classes())
    stray = X, Y * 30_000
    with pytest.raises(ValueError, match="^num_classes is unknown: the targets have 3 different labels"):
        ff.diagnostics.probe(classes(), stray, stray, epochs=1)


def test_a_number_of_classes_that_one_stray_label_determines_is_refused() -> None:
    for stray in (60_000, 10**7):
        data = TensorData(X, torch.where(torch.arange(30) == 7, stray, Y))
        with pytest.raises(ValueError, match=rf"^num_classes is unknown: .* 4 different labels.* is {stray};"):
            _ = data.num_classes
        with pytest.raises(ValueError, match="^num_classes is unknown"):
            _ = data[:20].num_classes
        with pytest.raises(ValueError, match=r"^labels must be in 0\.\.2 for 3 classes"):
            weights(data)
        assert TensorData(X, data.targets, num_classes=stray + 1).num_classes == stray + 1
    assert TensorData(torch.rand(1200, 2), torch.arange(1200)).num_classes == 1200
    assert TensorData(X, Y * 400).num_classes == 801  # up to 1000 classes, labels may leave out any


# Classes without samples


ABSENT = torch.tensor([3, 5, 8, 9])[torch.arange(30) % 4]


@pytest.mark.parametrize(
    "sampler", [ff.negatives.RandomLabel(), ff.negatives.HardLabel(), ff.negatives.HardGoodness()], ids=repr
)
@pytest.mark.parametrize("kind", ["tensors", "loader", "rows"])
def test_pair_objectives_warn_of_classes_without_samples_that_are_drawn_as_wrong_labels(
    kind: str, sampler: ff.negatives.Negatives
) -> None:
    rows = list(zip(X, ABSENT, strict=True))
    data: Any = {"tensors": (X, ABSENT), "loader": loader(rows), "rows": rows}[kind]
    model = pairs(10, negatives=sampler)
    with pytest.warns(
        UserWarning, match=r"^train has no samples of 6 of the 10 classes \(0, 1, 2, 4, 6, 7\)"
    ) as issued:
        ff.fit(model, data, epochs=2, batch_size=10, progress=False)
    assert len(issued) == 1
    assert "torch.unique(labels, return_inverse=True)[1]" in str(issued[0].message)


def test_objectives_that_draw_no_labels_do_not_warn_of_classes_without_samples() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        weights((X, ABSENT), classes(10))
        weights((X, ABSENT), ff.baselines.Backpropagation(ff.FFLinear(6, 8), num_classes=10))
        unlabeled = ff.FFSequential(
            ff.FFLinear(6, 8),
            goodness=ff.goodness.MeanOfSquares(),
            loss=ff.losses.SymBa(),
            negatives=ff.negatives.SelfContrast(),
            num_classes=10,
        )
        weights((X, ABSENT), unlabeled)
        weights((X, Y))
