"""Plug-ins of the user: mistakes are refused with a message that names the plug-in and the remedy."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import forwardforward as ff


def pairs(**plugins: Any) -> ff.FFSequential:
    """A network of pair objectives on inputs of 6 features."""
    usual: dict[str, Any] = {
        "goodness": ff.goodness.MeanOfSquares(),
        "loss": ff.losses.SymBa(),
        "label_encoder": ff.label_encoders.Concatenation(2),
    }
    return ff.FFSequential(ff.FFLinear(8, 4), **{**usual, **plugins})


def step(model: ff.FFSequential) -> None:
    model.step((torch.rand(4, 6), torch.tensor([0, 1, 0, 1])), ff.LocalOptimizer(torch.optim.SGD, lr=0.1))


@pytest.mark.parametrize(
    ("base", "name", "declared"),
    [
        (ff.goodness.Goodness, "forwards", "forward"),
        (ff.goodness.Goodness, "scales", "scale"),
        (ff.goodness.PerClassGoodness, "set_up", "setup"),
        (ff.losses.PairLoss, "acuracy", "accuracy"),
        (ff.losses.ClassLoss, "froward", "forward"),
        (ff.losses.BatchLoss, "forwrd", "forward"),
        (ff.objectives.Objective, "use_negatives", "uses_negatives"),
        (ff.normalization.Normalization, "as_afine", "as_affine"),
        (ff.label_encoders.LabelEncoder, "places", "place"),
        (ff.negatives.LabelNegatives, "wrong_label", "wrong_labels"),
        (ff.negatives.Negatives, "need_labels", "needs_labels"),
        (ff.negatives.Negatives, "score", "scores"),
        (ff.training.Callback, "on_epochs_end", "on_epoch_end"),
        (ff.training.Callback, "main_onl", "main_only"),
        (ff.baselines.Baseline, "gradient", "gradients"),
        (ff.targets.TargetKind, "probabilites", "probabilities"),
        (ff.data.text.Representation, "num_embedding", "num_embeddings"),
    ],
)
def test_a_misspelt_name_is_refused_when_the_class_is_defined(base: type, name: str, declared: str) -> None:
    with pytest.raises(TypeError, match=rf"^Mine\.{name} is not a declared name of .*: did you mean {declared}\?$"):
        type("Mine", (base,), {name: lambda self, *_: None})


def test_a_base_without_a_setup_has_no_such_name() -> None:
    for base in (ff.training.Callback, ff.targets.TargetKind, ff.negatives.Negatives):
        assert issubclass(type("Mine", (base,), {"set_up": lambda self: None}), base)


def test_other_names_and_names_beside_the_declared_one_are_accepted() -> None:
    class Mine(ff.goodness.Goodness):
        def forward(self, activations: Tensor) -> Tensor:
            return self.forwarded(activations)

        def forwarded(self, activations: Tensor) -> Tensor:
            return activations.flatten(1).sum(1)

    assert Mine()(torch.ones(1, 3)).tolist() == [3.0]


@pytest.mark.parametrize(
    ("argument", "base", "method"),
    [
        ("goodness", ff.goodness.Goodness, r"forward\(activations\)"),
        ("goodness", ff.goodness.GoodnessByPosition, r"forward\(activations\)"),
        ("loss", ff.losses.PairLoss, r"forward\(positive, negative\)"),
        ("normalization", ff.normalization.Normalization, r"forward\(x\)"),
        ("label_encoder", ff.label_encoders.LabelEncoder, r"place\(images\)"),
        ("negatives", ff.negatives.Negatives, r"__call__\(images, labels, label_encoder, scores, generator\)"),
        ("negatives", ff.negatives.LabelNegatives, r"wrong_labels\(labels, num_classes, scores, generator\)"),
    ],
)
def test_a_missing_method_is_refused_when_the_network_is_made(argument: str, base: type, method: str) -> None:
    plugin = type("Mine", (base,), {})(*([2] if base is ff.label_encoders.LabelEncoder else []))
    with pytest.raises(TypeError, match=rf"{argument} must implement {method}, got Mine without it"):
        pairs(**{argument: plugin})


def test_a_missing_method_of_an_objective_or_class_plugin_is_refused() -> None:
    goodness = type("Mine", (ff.goodness.PerClassGoodness,), {})(2)
    with pytest.raises(TypeError, match="goodness must implement forward"):
        ff.FFSequential(ff.FFLinear(6, 4), goodness=goodness, loss=ff.losses.CrossEntropy())
    with pytest.raises(TypeError, match="loss must implement forward"):
        ff.objectives.ClassObjective(ff.goodness.ClassGroups(2), type("Mine", (ff.losses.ClassLoss,), {})())
    with pytest.raises(TypeError, match="loss must implement forward"):
        ff.objectives.BatchObjective(type("Mine", (ff.losses.BatchLoss,), {})())
    with pytest.raises(TypeError, match="objective must implement forward"):
        ff.FFLinear(6, 4, objective=type("Mine", (ff.objectives.Objective,), {})())


class Uninitialized(ff.goodness.Goodness):
    def __init__(self) -> None:
        self.factor = 2.0

    def forward(self, activations: Tensor) -> Tensor:
        return self.factor * activations.sum(1)


def test_a_forgotten_call_of_the_base_constructor_is_named() -> None:
    with pytest.raises(TypeError, match=r"^goodness must call super\(\).__init__\(\) in its constructor, got Uninit"):
        pairs(goodness=Uninitialized())


class PlainTensorInSetup(ff.goodness.PerClassGoodness):
    def setup(self, spec: ff.specs.LayerSpec) -> None:
        self.matrix = torch.randn(self.num_classes, spec.size)

    def forward(self, activations: Tensor) -> Tensor:
        return activations @ self.matrix.T


class PlainTensor(PlainTensorInSetup):
    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.matrix = torch.randn(num_classes, 4)


@pytest.mark.parametrize("kind", [PlainTensor, PlainTensorInSetup])
def test_a_plain_tensor_would_not_be_saved_and_is_refused(kind: type[ff.goodness.PerClassGoodness]) -> None:
    message = r"layers\.0\.objective\.goodness\.matrix is a plain tensor, which is not saved: assign an nn\.Parameter"
    with pytest.raises(ValueError, match=message):
        ff.FFSequential(ff.FFLinear(6, 4), goodness=kind(2), loss=ff.losses.CrossEntropy())


class InFront(ff.label_encoders.LabelEncoder):
    """A code in front of the image, whose rows may be too short, or not blank."""

    def __init__(self, blank: bool, columns: range) -> None:
        super().__init__(2, codebook=torch.tensor([[1.0, -1.0], [-1.0, 1.0]]))
        self.blank = blank
        self.columns = columns

    def place(self, images: Tensor) -> tuple[Tensor, Tensor, int]:
        rows = images.flatten(1)
        front = rows.new_zeros(len(rows), 2)
        rows = torch.cat([front, rows], dim=1) if self.blank else rows
        return rows, torch.tensor(list(self.columns)), 8


def test_a_label_encoder_in_front_of_the_image_trains_and_survives_save_and_load() -> None:
    model = pairs(label_encoder=InFront(True, range(2)))
    images = torch.rand(5, 6)
    assert model.label_encoder.neutral(images).joined()[:, 2:].equal(images)
    step(model)
    other = pairs(label_encoder=InFront(True, range(2)))
    other.label_encoder.codebook.zero_()
    other.load_state_dict(model.state_dict())
    assert torch.equal(model.predict_proba(images), other.predict_proba(images))


@pytest.mark.parametrize(
    ("blank", "columns", "message"),
    [
        (False, range(2), "place must return rows of at most 8 columns, zero in the code's columns"),
        (True, range(3), r"place must return 2 columns, one per value of the code, in 0\.\.7, got \[0, 1, 2\]"),
        (True, range(7, 9), r"place must return 2 columns, one per value of the code, in 0\.\.7, got \[7, 8\]"),
    ],
)
@pytest.mark.parametrize("input_shape", [(6,), None])
def test_a_wrong_place_is_refused(
    blank: bool, columns: range, message: str, input_shape: tuple[int, ...] | None
) -> None:
    with pytest.raises(ValueError, match=message):
        step(pairs(label_encoder=InFront(blank, columns), input_shape=input_shape))


def test_a_sampler_must_return_a_batch_with_negatives() -> None:
    class NoBatch(ff.negatives.Negatives):
        def __call__(self, images: Tensor, labels: Any, label_encoder: Any, scores: Any, generator: Any) -> Any:
            return label_encoder(images, labels)

    class NoNegatives(NoBatch):
        def __call__(self, images: Tensor, labels: Any, label_encoder: Any, scores: Any, generator: Any) -> Any:
            return ff.Batch(label_encoder(images, labels), labels)

    for sampler in (NoBatch(), NoNegatives(), lambda images, *_: images):
        with pytest.raises(TypeError, match="^negatives must return a Batch with has_negatives=True, got "):
            step(pairs(negatives=sampler))


def test_plugins_of_a_few_lines_survive_save_and_load() -> None:
    class Trimmed(ff.goodness.Goodness):
        def forward(self, activations: Tensor) -> Tensor:
            return activations.square().sort(1).values[:, :-1].mean(1)

    class Tempered(ff.losses.PairLoss):
        def __init__(self) -> None:
            super().__init__()
            self.log_t = nn.Parameter(torch.zeros(()))

        def forward(self, positive: Tensor, negative: Tensor) -> Tensor:
            return nn.functional.softplus((negative - positive) * self.log_t.exp()).mean()

    model, other = (pairs(goodness=Trimmed(), loss=Tempered()) for _ in range(2))
    before = copy.deepcopy(model.state_dict())
    step(model)
    assert not torch.equal(before["layers.0.objective.loss.log_t"], model.state_dict()["layers.0.objective.loss.log_t"])
    other.load_state_dict(model.state_dict())
    images = torch.rand(9, 6)
    assert torch.equal(model.layer_goodness(images), other.layer_goodness(images))
