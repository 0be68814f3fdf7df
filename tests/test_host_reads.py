"""The training loop does not wait for the device within an epoch, and a user's own step checks its values."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import forwardforward as ff

X = torch.rand(120, 8, generator=torch.Generator().manual_seed(0))
Y = torch.arange(120) % 3
WORDS = torch.arange(120)[:, None] % 7 + torch.arange(4) % 2

#: Steps per epoch on a CUDA device.
STEPS = 12

#: Operations that return a number to Python, or a tensor whose shape depends on values.
HOST_READS = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "_unique2", "bincount")


class HostReads(TorchDispatchMode):
    """Counts the operations that wait for the device."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.overloadpacket.__name__
        if name in HOST_READS:
            self.counts[name] += 1
        return function(*args, **(kwargs or {}))


def pairs(**changes: Any) -> ff.FFSequential:
    plugins: dict[str, Any] = {
        "goodness": ff.goodness.MeanOfSquares(),
        "loss": ff.losses.SymBa(),
        "normalization": ff.normalization.BatchNorm(),
        "label_encoder": ff.label_encoders.Overlay(3),
    }
    return ff.FFSequential(ff.FFLinear(8, 6), ff.FFLinear(6, 5), **{**plugins, **changes})


def classes() -> ff.FFSequential:
    return ff.FFSequential(
        ff.FFLinear(8, 6),
        ff.FFLinear(6, 5),
        goodness=ff.goodness.LearnedProjection(3),
        loss=ff.losses.CrossEntropy(),
        preprocessing=ff.preprocessing.Preprocessing(standardize=True),
    )


def words() -> ff.FFSequential:
    objective = ff.objectives.ClassObjective(ff.goodness.LearnedProjection(3), ff.losses.CrossEntropy())
    return ff.FFSequential(ff.layers.FFEmbeddingBag(9, 6), ff.FFLinear(6, 5), objective=objective)


NETWORKS = {
    "pairs": pairs,
    "hard labels": lambda: pairs(negatives=ff.negatives.HardLabel()),
    "hard goodness": lambda: pairs(negatives=ff.negatives.HardGoodness()),
    "head": lambda: pairs(head=ff.heads.LinearHead(3), peer=ff.normalization.PeerNormalization()),
    "masks": lambda: pairs(
        label_encoder=None, negatives=ff.negatives.SelfContrast(), num_classes=3, normalization=None
    ),
    "classes": classes,
    "words": words,
    "backpropagation": lambda: ff.baselines.Backpropagation(ff.FFLinear(8, 6), num_classes=3),
    "feedback alignment": lambda: ff.baselines.FeedbackAlignment(ff.FFLinear(8, 6), num_classes=3),
    "pepita": lambda: ff.baselines.Pepita(ff.FFLinear(8, 6), num_classes=3),
}


def data(kind: str, count: int = 120) -> ff.TensorData:
    if kind == "words":
        return ff.TensorData(WORDS[:count], Y[:count], num_embeddings=9)
    return ff.TensorData(X[:count], Y[:count])


def sgd() -> ff.LocalOptimizer:
    return ff.LocalOptimizer(torch.optim.SGD, lr=0.01)


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_steps_of_an_epoch_read_nothing_from_the_device(kind: str) -> None:
    counts = []
    for samples in (40, 120):
        model = NETWORKS[kind]()
        with HostReads() as reads:
            ff.fit(model, data(kind, samples), epochs=1, batch_size=10, optimizer=sgd(), progress=False)
        counts.append(reads.counts)
    assert counts[0] == counts[1], "the number of reads grows with the number of steps"
    assert counts[0].total() > 0  # the checks of the data set and the means of the epoch


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
@pytest.mark.parametrize("kind", NETWORKS)
def test_the_steps_of_an_epoch_do_not_synchronize_with_a_cuda_device(kind: str) -> None:
    class Strict(ff.training.Callback):
        """Refuses synchronizations from the second step of an epoch to its last."""

        def on_step_end(self, state: Any, result: Any) -> None:
            torch.cuda.set_sync_debug_mode("default" if state.unfinished.steps == STEPS else "error")

    try:
        ff.fit(
            NETWORKS[kind](),
            data(kind),
            epochs=2,
            batch_size=120 // STEPS,
            optimizer=sgd(),
            device="cuda",
            callbacks=[Strict()],
            progress=False,
        )
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_an_own_step_reads_from_the_device() -> None:
    model = pairs()
    with HostReads() as reads:
        model.step((X, Y), sgd())
    assert reads.counts["_local_scalar_dense"] > 0


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("kind", [name for name in NETWORKS if name != "words"])
def test_a_step_refuses_images_that_are_not_finite_and_changes_nothing(kind: str, value: float) -> None:
    model = NETWORKS[kind]()
    model.preprocessing.fit(X)
    images = X[:10].clone()
    images[3, 2] = value
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match="^images must be finite, got NaN or infinity"):
        model.step((images, Y[:10]), sgd())
    after = model.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize(
    ("images", "labels", "error", "message"),
    [
        (X[:3], torch.tensor([0, 1, 3]), ValueError, r"^labels must be in 0\.\.2 for 3 classes, got 0\.\.3"),
        (X[:3], torch.tensor([1, 2, 3]), ValueError, r"got 1\.\.3: count from 0, as in labels - 1$"),
        (
            X[:3],
            torch.tensor([0.0, 1.0, torch.nan]),
            TypeError,
            "^labels must be of an integer type, got torch.float32$",
        ),
        (X[:3], torch.tensor([0.0, 1.0, 2.0]), TypeError, r"got torch.float32; labels.long\(\) converts them$"),
        (X[:3].double() + 1e300, Y[:3], ValueError, "^images must be finite, got NaN or infinity"),
    ],
)
def test_a_step_refuses_labels_out_of_range(
    images: Tensor, labels: Tensor, error: type[Exception], message: str, whole: bool
) -> None:
    whole_step = ff.step.WholeStep() if whole else None
    with pytest.raises(error, match=message):
        pairs().step((images, labels), sgd(), whole_step=whole_step)


def test_a_step_refuses_indices_out_of_range() -> None:
    with pytest.raises(ValueError, match=r"^images must be indices of the first layer's table, 0\.\.8, got 0\.\.9"):
        words().step((torch.tensor([[0, 9], [1, 2]]), Y[:2]), sgd())


@pytest.mark.parametrize("batch", [X, (X,), (X, Y, Y), None])
def test_a_step_takes_a_pair(batch: Any) -> None:
    with pytest.raises(TypeError, match=r"^batch must be a pair \(images, labels\), got "):
        pairs().step(batch, sgd())


class Rows(torch.utils.data.Dataset[Any]):
    """Samples of a map-style data set, of which one is replaced."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.images[index], self.labels[index]


@pytest.mark.parametrize("as_loader", [False, True])
@pytest.mark.parametrize(
    ("kind", "sample", "label", "message"),
    [
        ("pairs", None, 3, r"^labels must be in 0\.\.2 for 3 classes"),
        ("pairs", None, -1, r"^labels must be in 0\.\.2 for 3 classes, got -1"),
        ("backpropagation", None, 3, r"^labels must be in 0\.\.2 for 3 classes"),
        (
            "pairs",
            torch.full((8,), torch.nan),
            0,
            "^images must be finite, got NaN or infinity in a batch of the loader",
        ),
        (
            "pairs",
            torch.full((8,), 1e300, dtype=torch.float64),
            0,
            "^images must be finite, got NaN or infinity in a batch",
        ),
        ("words", torch.tensor([0, 1, 2, 9]), 0, r"^images must be indices of the first layer's table, 0\.\.8, got"),
    ],
)
def test_every_batch_of_a_data_set_is_checked_on_the_cpu(
    kind: str, sample: Tensor | None, label: int, message: str, as_loader: bool
) -> None:
    images, labels = (WORDS if kind == "words" else X).clone(), Y.clone()
    if sample is not None:
        images = images.to(sample.dtype)
        images[77] = sample
    labels[77] = label
    rows: Any = Rows(images, labels)
    if as_loader:
        rows = torch.utils.data.DataLoader(rows, batch_size=10)
    with pytest.raises(ValueError, match=message):
        ff.fit(NETWORKS[kind](), rows, epochs=1, batch_size=10, optimizer=sgd(), progress=False)


def test_tensors_that_overflow_in_the_networks_dtype_are_refused_before_training() -> None:
    images = X.double()
    images[5, 0] = 1e300
    with pytest.raises(ValueError, match="^images must be finite, got NaN or infinity"):
        ff.fit(pairs(), (images, Y), epochs=1, progress=False)


def test_data_of_a_larger_vocabulary_are_refused_before_training() -> None:
    larger = ff.TensorData(WORDS + 5, Y, num_embeddings=20)
    with pytest.raises(ValueError, match=r"^images must be indices of the first layer's table, 0\.\.8, got 5\.\."):
        ff.fit(words(), larger, epochs=1, progress=False)


def test_augmented_indices_are_checked_in_every_step() -> None:
    with pytest.raises(ValueError, match=r"^images must be indices of the first layer's table"):
        ff.fit(words(), data("words"), epochs=1, progress=False, augment=lambda images, generator: images + 5)


def test_a_layers_labels_are_checked_for_a_number_of_classes_that_the_first_batch_determines() -> None:
    objective = ff.objectives.ClassObjective(lambda h: h[:, :3], nn.functional.cross_entropy)
    model = ff.FFSequential(nn.Linear(8, 6), objective=objective)
    assert model.num_classes is None
    with pytest.raises(ValueError, match=r"^labels must be in 0\.\.2 for 3 classes, got 0\.\.3"):
        ff.fit(model, (X, torch.arange(120) % 4), epochs=1, progress=False)
