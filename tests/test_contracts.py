"""Every combination of plug-ins trains one step, or is refused by the name of an argument."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import forwardforward as ff
from forwardforward.objectives import BatchObjective, ClassObjective, PairObjective

NAMES = (
    "goodness|loss|objectives?|embedding|label_encoder|negatives|head|classifier|num_classes|in_channels|a layer|"
    "images|batch|labels"
)
#: A message that names an argument, or a layer that does not accept its input.
NAMED = re.compile(rf"(layer \d+: )?({NAMES}) |layer \d+ does not accept inputs of shape")


def pair_function(positive: Tensor, negative: Tensor) -> Tensor:
    return (negative - positive).mean()


def sampler(images: Any, labels: Any, label_encoder: Any, scores: Any, generator: Any) -> ff.Batch:
    return ff.negatives.RandomLabel()(images, labels, label_encoder, scores, generator)


def short_sampler(images: Any, labels: Any) -> None:
    return None


def no_batch(images: Any, labels: Any, label_encoder: Any, scores: Any, generator: Any) -> None:
    return None


GOODNESS: dict[str, Callable[[], Any]] = {
    "none": lambda: None,
    "scalar": ff.goodness.MeanOfSquares,
    "per class": lambda: ff.goodness.LearnedProjection(3),
    "by position": ff.goodness.MeanOfSquaresByPosition,
    "function": lambda: lambda h: h.square().flatten(1).sum(1),
    "class function": lambda: lambda h: h.flatten(1)[:, :3],
}
LOSSES: dict[str, Callable[[], Any]] = {
    "none": lambda: None,
    "pair": ff.losses.SymBa,
    "class": ff.losses.CrossEntropy,
    "batch": ff.losses.SupervisedContrastive,
    "cross-entropy": lambda: F.cross_entropy,
    "pair function": lambda: pair_function,
}


OBJECTIVES: dict[str, Any] = {
    "network": None,
    "pair": PairObjective,
    "class": ClassObjective,
    "batch": lambda goodness, loss: BatchObjective(loss, goodness),
    "sum": lambda goodness, loss: ClassObjective(goodness, loss) + BatchObjective(ff.losses.SupervisedContrastive()),
}
ENCODERS: dict[str, Callable[[], Any]] = {
    "none": lambda: None,
    "overlay": lambda: ff.label_encoders.Overlay(3),
    "channel": lambda: ff.label_encoders.LearnedChannel(3, 4),
}
NEGATIVES: dict[str, Callable[[], Any]] = {
    "none": lambda: None,
    "random": ff.negatives.RandomLabel,
    "hard": ff.negatives.HardLabel,
    "mask": ff.negatives.HybridMask,
    "function": lambda: sampler,
    "function of another arity": lambda: short_sampler,
    "function without a batch": lambda: no_batch,
}
HEADS: dict[str, Callable[[], Any]] = {
    "none": lambda: None,
    "head": lambda: ff.heads.LinearHead(3),
    "head of other classes": lambda: ff.heads.LinearHead(4),
}
CLASSIFIERS: dict[str, Callable[[], Any]] = {
    "none": lambda: None,
    "head": lambda: "head",
    "sum": ff.classifiers.SumOverLayers,
    "function of another arity": lambda: lambda goodness, labels: goodness,
}
#: Pairs of goodness and loss that belong together, with the objective's kind.
VALID = [
    ("scalar", "pair", "network"),
    ("per class", "class", "network"),
    ("none", "batch", "network"),
    pytest.param("function", "pair function", "pair", marks=pytest.mark.slow),
    pytest.param("class function", "cross-entropy", "class", marks=pytest.mark.slow),
    pytest.param("by position", "pair", "network", marks=pytest.mark.slow),
    pytest.param("per class", "class", "sum", marks=pytest.mark.slow),
]

LABELS = torch.arange(6) % 3


def trains(is_convolution: bool, objective: str, goodness: Any, loss: Any, **plugins: Any) -> bool:
    """Return whether a network of the plug-ins is constructed, trained and measured; False if it is refused."""
    try:
        if OBJECTIVES[objective] is None:
            plugins |= {"goodness": goodness, "loss": loss}
        else:
            plugins["objective"] = OBJECTIVES[objective](goodness, loss)
        if is_convolution:
            channels = 2 if isinstance(plugins["label_encoder"], ff.label_encoders.LearnedChannel) else 1
            model = ff.FFSequential(ff.FFConv2d(channels, 4, 3), ff.FFConv2d(4, 4, 2), **plugins)
            images = torch.rand(6, 1, 4, 4)
        else:
            model = ff.FFSequential(ff.FFLinear(9, 8), ff.FFLinear(8, 7), **plugins)
            images = torch.rand(6, 9)
        result = model.step((images, LABELS), ff.LocalOptimizer(torch.optim.SGD, lr=0.01))
        assert all(local.loss.isfinite() for local in result.layers.values())
        assert len(result.layers) == len(model)
        if model.layers_classify or model.head is not None:
            assert ff.evaluate(model, (images, LABELS)).samples == len(images)
    except (ValueError, TypeError) as error:
        message = str(error)
    else:
        return True
    assert NAMED.match(message), f"no argument is named: {message}"
    return False


@pytest.mark.parametrize("is_convolution", [False, True])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_goodness_with_every_loss(objective: str, is_convolution: bool) -> None:
    trained = set()
    for goodness, loss, encoder in itertools.product(
        GOODNESS, LOSSES, ["none", "channel" if is_convolution else "overlay"]
    ):
        if loss == "pair function" and objective != "pair":
            continue  # a plain function states no contract
        plugins = {"label_encoder": ENCODERS[encoder]()}
        if trains(is_convolution, objective, GOODNESS[goodness](), LOSSES[loss](), **plugins):
            trained.add((goodness, loss))
    scalar = {"scalar", "function"} | ({"by position"} if is_convolution else set())
    per_class = {"per class", "class function"}
    expected = {
        "network": {*itertools.product(scalar, ["pair"]), *itertools.product(per_class, ["class"]), ("none", "batch")},
        "pair": {*itertools.product(scalar, ["pair", "pair function"])},
        "class": {*itertools.product(per_class, ["class", "cross-entropy"])},
        "batch": {*itertools.product(["none", "per class"], ["batch", "cross-entropy"])},
        "sum": {*itertools.product(per_class, ["class", "cross-entropy"])},
    }[objective]
    assert trained >= expected
    kinds = {"scalar": "pair", "by position": "pair", "per class": "class"}  # plain functions may be of any kind
    for goodness, loss in trained:
        assert loss in ("batch", "pair function", "cross-entropy", kinds.get(goodness, loss))
        assert (goodness, loss) not in {("scalar", "cross-entropy"), ("per class", "pair function"), ("none", "none")}


@pytest.mark.parametrize(("goodness", "loss", "objective"), VALID, ids=str)
def test_every_other_plug_in_with_every_kind_of_objective(goodness: str, loss: str, objective: str) -> None:
    trained = 0
    is_convolution = goodness == "by position"
    encoders = ["none", "channel" if is_convolution else "overlay"]
    for encoder, negatives, head, classifier in itertools.product(encoders, NEGATIVES, HEADS, CLASSIFIERS):
        plugins = {
            "label_encoder": ENCODERS[encoder](),
            "negatives": NEGATIVES[negatives](),
            "head": HEADS[head](),
            "classifier": CLASSIFIERS[classifier](),
        }
        trained += trains(is_convolution, objective, GOODNESS[goodness](), LOSSES[loss](), **plugins)
    assert trained >= 3


#: Values that are no plug-in of any kind.
@pytest.mark.parametrize("value", [3, 0.5, "x", [], {}, (), object()], ids=range(7))
@pytest.mark.parametrize(
    "name",
    ["goodness", "loss", "objective", "normalization", "peer", "label_encoder", "negatives", "head", "classifier"],
)
def test_values_that_are_no_plug_ins_are_refused_at_construction(name: str, value: Any) -> None:
    plugins: dict[str, Any] = {
        "goodness": ff.goodness.MeanOfSquares(),
        "loss": ff.losses.SymBa(),
        "label_encoder": ff.label_encoders.Overlay(3),
    }
    with pytest.raises((TypeError, ValueError), match=f"^(layer 0: )?{name} must be "):
        ff.FFSequential(ff.FFLinear(9, 8), **{**plugins, name: value})


@pytest.mark.parametrize("value", [3, None, "x", [], nn.Linear, lambda x: x], ids=range(6))
@pytest.mark.parametrize(
    "make",
    [
        partial(ff.FFSequential, goodness=ff.goodness.MeanOfSquares(), loss=ff.losses.SymBa(), num_classes=3),
        partial(ff.baselines.Backpropagation, num_classes=3),
        partial(ff.baselines.Pepita, num_classes=3),
    ],
    ids=["local", "backpropagation", "pepita"],
)
def test_values_that_are_no_layers_are_refused(make: Any, value: Any) -> None:
    with pytest.raises(TypeError, match=r"^(layers|block|layers\[0\]) must be "):
        make(value)


class Misnamed(ff.goodness.Goodness):
    """A goodness with an error of its author."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def setup(self, spec: Any) -> None:
        if spec.index == 1:
            raise self.error

    def forward(self, activations: Tensor) -> Tensor:
        return activations.sum(1)


@pytest.mark.parametrize("error", [TypeError("bad"), ValueError("bad"), RuntimeError("bad"), IndexError("bad")])
def test_errors_in_the_setup_of_a_plug_in_name_the_layer(error: Exception) -> None:
    kind = ValueError if isinstance(error, ValueError) else TypeError
    with pytest.raises(kind, match=r"^layer 1.*: bad"):
        ff.FFSequential(
            ff.FFLinear(9, 8),
            ff.FFLinear(8, 7),
            goodness=Misnamed(error),
            loss=ff.losses.SymBa(),
            label_encoder=ff.label_encoders.Overlay(3),
        )


class Weights(nn.Module):
    """A classifier with weights in a method that is not its forward."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, 2.0]))

    def classify(self, goodness: Tensor) -> Tensor:
        return (goodness * self.weight[:, None]).sum(1)


class Holder:
    """A plain object that classifies with a module's weights."""

    def __init__(self) -> None:
        self.module = Weights()

    def __call__(self, goodness: Tensor) -> Tensor:
        return self.module.classify(goodness)


def weighted(weight: Tensor, goodness: Tensor) -> Tensor:
    return (goodness * weight[:, None]).sum(1)


def weighted_by(goodness: Tensor, weight: Tensor) -> Tensor:
    return weighted(weight, goodness)


@pytest.mark.parametrize(
    ("classifier", "message"),
    [
        (Weights().classify, "^classifier is a method of Weights, whose weights are not saved: pass the module itself"),
        (Holder(), r"^classifier.module is a module, which is not saved: derive its class from nn.Module"),
        (Holder().__call__, r"^classifier.module is a module, which is not saved"),
        (partial(weighted, torch.ones(2)), "^classifier is a partial function of tensors, which are not saved"),
        (partial(weighted_by, weight=torch.ones(2)), "^classifier is a partial function of tensors"),
    ],
)
def test_classifiers_whose_weights_would_not_be_saved_are_refused(classifier: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ff.FFSequential(
            ff.FFLinear(9, 8),
            ff.FFLinear(8, 7),
            goodness=ff.goodness.LearnedProjection(3),
            loss=ff.losses.CrossEntropy(),
            classifier=classifier,
        )


class Method:
    """A plain object without tensors."""

    def classify(self, goodness: Tensor) -> Tensor:
        return goodness.sum(1)


def test_a_method_of_an_object_without_tensors_classifies() -> None:
    model = ff.FFSequential(
        ff.FFLinear(9, 8),
        goodness=ff.goodness.LearnedProjection(3),
        loss=ff.losses.CrossEntropy(),
        classifier=Method().classify,
    )
    assert model.predict(torch.rand(2, 9)).shape == (2,)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ff.label_encoders.Overlay(10**9),
        lambda: ff.label_encoders.Concatenation(10**7),
        lambda: ff.label_encoders.LearnedChannel(10**9, 100),
        lambda: ff.FFLinear(8, 6, goodness=ff.goodness.LearnedProjection(10**13), loss=ff.losses.CrossEntropy()),
        lambda: ff.FFLinear(8, 6, goodness=ff.goodness.Prototypes(10**13), loss=ff.losses.CrossEntropy()),
        lambda: ff.FFLinear(8, 6, goodness=ff.goodness.HiddenProjection(3, 10**13), loss=ff.losses.CrossEntropy()),
        lambda: ff.FFLinear(8, 6, goodness=ff.goodness.RandomProjection(10**13), loss=ff.losses.CrossEntropy()),
        lambda: ff.heads.LinearHead(10**13).setup([(8,)]),
        lambda: ff.baselines.Backpropagation(ff.FFLinear(8, 6), num_classes=10**13),
        lambda: ff.baselines.Pepita(ff.FFLinear(8, 6), num_classes=10**13),
        lambda: ff.classifiers.GoodnessReadout(10**8, 10),
        lambda: ff.FFSequential(
            ff.FFConv2d(2, 10**4, 3, padding=1),
            goodness=ff.goodness.SumOfSquares(),
            loss=ff.losses.SymBa(),
            label_encoder=ff.label_encoders.RandomChannel(10**5, 30),
            input_shape=(1, 30, 30),
        ),
        lambda: ff.FFLinear(10**7, 10**7),
        lambda: ff.FFConv2d(10**7, 10**7, 3),
        lambda: ff.layers.FFEmbedding(10**8, 10**6),
        lambda: ff.layers.FFEmbeddingBag(10**8, 10**6),
        lambda: ff.layers.LocallyConnected2d(10**4, 10**4, 30, size=100),
    ],
)
def test_sizes_that_do_not_fit_into_memory_are_refused_with_the_size(make: Callable[[], Any]) -> None:
    with pytest.raises(ValueError, match=r"must lead to tensors that fit into the [\d,]+ GB of memory, got .* GB$"):
        make()


def test_groups_of_more_classes_than_features_are_refused() -> None:
    with pytest.raises(ValueError, match="^num_classes must divide the layer's features"):
        ff.FFLinear(8, 6, goodness=ff.goodness.ClassGroups(10**9), loss=ff.losses.CrossEntropy())
