"""Replicas as networks: members, copies, checkpoints, and what is refused."""

from __future__ import annotations

import copy
import io
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import forwardforward as ff
from forwardforward.replicas import ReplicaOptimizer, Replicas
from forwardforward.training import Callback, FitState
from tests.replicas.cases import NETWORKS, SEEDS, data, difference, pair, per_class, sgd, words


def fitted(make: Any = per_class, **options: Any) -> Replicas:
    replicas = ff.replicate(make, SEEDS)
    ff.fit(replicas, data("pair"), batch_size=8, optimizer=sgd(), progress=False, **options)
    return replicas


def test_a_member_is_a_plain_network_with_its_own_memory() -> None:
    replicas = fitted(epochs=1)
    member = replicas.member(-1)
    assert type(member) is ff.FFSequential
    assert member.epochs_trained == 1
    assert {value.untyped_storage().nbytes() for value in member.state_dict().values()} == {
        value.numel() * value.element_size() for value in member.state_dict().values()
    }
    before = replicas.member(-1)
    ff.fit(member, data("pair"), epochs=1, batch_size=8, optimizer=sgd(), progress=False)
    assert difference(replicas.member(-1), before) == 0
    other = per_class()
    other.load_state_dict(before.state_dict())
    assert difference(other, before) == 0


def test_replicate_restores_the_random_state_and_seeds_each_network() -> None:
    state = torch.get_rng_state()
    replicas = ff.replicate(per_class, SEEDS)
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(SEEDS[1])
    assert difference(replicas.member(1), per_class()) == 0


@pytest.mark.parametrize("change", ["copy", "pickle", "float", "load", "assign"])
def test_stacked_and_members_tensors_stay_the_same(change: str) -> None:
    replicas = fitted(epochs=1)
    if change == "copy":
        replicas = copy.deepcopy(replicas)
    elif change == "pickle":
        file = io.BytesIO()
        torch.save(replicas, file)
        file.seek(0)
        replicas = torch.load(file, weights_only=False)
    elif change == "float":
        replicas = replicas.float()
    else:
        state = {k: v.clone() * 2 if v.is_floating_point() else v for k, v in replicas.state_dict().items()}
        replicas.load_state_dict(state, assign=change == "assign")
    before, weight = replicas.member(0), replicas.members[0][0].block.weight
    ff.fit(replicas, data("pair"), epochs=1, batch_size=8, optimizer=sgd(), progress=False)
    assert difference(before, replicas.member(0)) > 1e-4
    assert weight is replicas.members[0][0].block.weight
    assert torch.equal(weight, replicas._stacked.tensors["layers.0.block.weight"][0])


class Stop(Callback):
    """Interrupts the training after a number of steps."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_step_end(self, state: FitState, result: Any) -> None:
        self.steps -= 1
        if self.steps == 0:
            state.interruption = KeyboardInterrupt()


@pytest.mark.parametrize(("name", "kind"), [("pair", "sgd"), ("words", "adam")])
def test_an_interrupted_and_resumed_training_equals_an_uninterrupted_one(name: str, kind: str, tmp_path: Path) -> None:
    samples = data(name)

    def train(**options: Any) -> tuple[Replicas, Any]:
        optimizer = sgd() if kind == "sgd" else ff.LocalOptimizer(torch.optim.Adam, lr=0.01)
        replicas = ff.replicate(NETWORKS[name], SEEDS)
        settings: dict[str, Any] = {"epochs": 2, "batch_size": 8, "optimizer": optimizer, "progress": False}
        try:
            history = ff.fit(replicas, samples, validation=samples, **settings, **options)
        except KeyboardInterrupt:
            history = None
        return replicas, history

    whole, expected = train()
    path = tmp_path / "run.pt"
    assert train(checkpoint=path, callbacks=[Stop(7)])[1] is None
    resumed, history = train(checkpoint=path, resume=True)
    assert difference(whole, resumed) == 0
    for record, other in zip(history, expected, strict=True):
        assert {**record, "seconds": 0} == {**other, "seconds": 0}
    plain = ff.training.load_checkpoint(path)
    assert len(plain["history"]) == 2


def test_a_second_fit_keeps_the_optimizers_state() -> None:
    samples, optimizers = data("pair"), [sgd(), sgd()]
    replicas, model = ff.replicate(per_class, SEEDS), None
    torch.manual_seed(SEEDS[0])
    model = per_class()
    for _ in range(2):
        ff.fit(replicas, samples, epochs=1, batch_size=8, optimizer=optimizers[0], progress=False)
        ff.fit(model, samples, epochs=1, batch_size=8, optimizer=optimizers[1], seed=SEEDS[0], progress=False)
    assert difference(replicas.member(0), model) < 1e-8


def test_a_diverged_member_is_named() -> None:
    optimizer = ReplicaOptimizer([sgd(), sgd(lr=1e30)])
    with pytest.raises(ff.training.TrainingDiverged, match=r"members\.1\."):
        ff.fit(Replicas([pair(), pair()]), data("pair"), epochs=2, batch_size=8, optimizer=optimizer, progress=False)


def build(block: nn.Module, **options: Any) -> ff.FFSequential:
    return ff.FFSequential(
        ff.FFLayer(block),
        goodness=ff.goodness.LearnedProjection(3),
        loss=ff.losses.CrossEntropy(),
        **{"input_shape": (12,), **options},
    )


class Unbatchable(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * (1.0 if bool(x.sum() > 0) else 2.0)


REFUSED = {
    "recurrent": (lambda: build(nn.LSTM(4, 5, batch_first=True), input_shape=(3, 4)), "recurrent blocks.*block: LSTM"),
    "dropout": (lambda: build(nn.Sequential(nn.Linear(12, 5), nn.Dropout(0.5))), "Dropout.*layers.0.block.1"),
    "reads a value": (lambda: build(Unbatchable(12, 5)), "cannot be trained together.*, got layers.0.block: Unbatch"),
    "no shape": (lambda: build(nn.Linear(12, 5), input_shape=None), "shape of their input"),
    "other kind": (lambda: ff.baselines.Backpropagation(ff.FFLinear(12, 8), num_classes=3), "FFSequential"),
}


class RandomGoodness(ff.goodness.Goodness):
    def forward(self, activations: torch.Tensor) -> torch.Tensor:
        return (activations + torch.rand_like(activations)).square().sum(1)


class BranchingGoodness(ff.goodness.Goodness):
    def forward(self, activations: torch.Tensor) -> torch.Tensor:
        return activations.square().sum(1) if activations.sum() > 0 else activations.sum(1)


class ReadingLoss(ff.losses.PairLoss):
    def forward(self, positive: torch.Tensor, negative: torch.Tensor) -> torch.Tensor:
        return (negative - positive).mean() / (1 + float(positive.detach().mean()))


class ReadingAccuracy(ff.losses.PairLoss):
    def forward(self, positive: torch.Tensor, negative: torch.Tensor) -> torch.Tensor:
        return (negative - positive).mean()

    def accuracy(self, positive: torch.Tensor, negative: torch.Tensor) -> torch.Tensor:
        return torch.tensor(float((positive > negative).float().mean()))


class ReadingNormalization(ff.normalization.Normalization):
    def __init__(self, mode: bool) -> None:
        super().__init__()
        self.mode = mode

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x / (1 + float(x.detach().abs().mean())) if self.training == self.mode else x


class ReadingAffine(ff.normalization.Normalization):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x

    def as_affine(self, x: Any) -> ff.normalization.Affine:
        return ff.normalization.Affine(column_scale=torch.ones(x.features) * float(x.images.mean() + 1))


def own(**plugins: Any) -> ff.FFSequential:
    usual: dict[str, Any] = {"goodness": ff.goodness.MeanOfSquares(), "loss": ff.losses.SymBa()}
    encoder = ff.label_encoders.Concatenation(3)
    return ff.FFSequential(ff.FFLinear(15, 8), ff.FFLinear(8, 8), label_encoder=encoder, **{**usual, **plugins})


OWN = {
    "random goodness": (lambda: own(goodness=RandomGoodness()), "layers.0.objective.goodness: RandomGoodness"),
    "branch": (lambda: own(goodness=BranchingGoodness()), "layers.0.objective.goodness: BranchingGoodness"),
    "loss": (lambda: own(loss=ReadingLoss()), "layers.0.objective.loss: ReadingLoss"),
    "accuracy": (lambda: own(loss=ReadingAccuracy()), "layers.0.objective.loss: ReadingAccuracy"),
    "training": (lambda: own(normalization=ReadingNormalization(True)), "layers.0.normalization: ReadingNormali"),
    "evaluation": (lambda: own(normalization=ReadingNormalization(False)), "layers.0.normalization: ReadingNormali"),
    "affine": (lambda: own(normalization=ReadingAffine(), input_shape=(12,)), "layers.0.normalization: ReadingAffine"),
    "head": (lambda: own(loss=ReadingLoss(), head=ff.heads.LinearHead(3)), "layers.0.objective.loss: ReadingLoss"),
}


@pytest.mark.parametrize("case", OWN)
def test_own_plugins_that_draw_random_numbers_or_read_values_are_refused_with_their_place(case: str) -> None:
    make, place = OWN[case]
    make()
    with pytest.raises(
        ValueError, match=rf"^members cannot be trained together with torch.vmap, got {place}.*: vmap: "
    ):
        ff.replicate(make, [0, 1])


def test_replicas_whose_images_have_an_unknown_shape_are_tried_again_at_the_first_batch() -> None:
    replicas = ff.replicate(lambda: own(normalization=ReadingAffine()), [0, 1])
    with pytest.raises(ValueError, match="^members cannot be trained .*, got layers.0.normalization: ReadingAffine"):
        ff.fit(replicas, (torch.rand(9, 12), torch.arange(9) % 3), epochs=1, progress=False)


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_batched_is_refused_by_name(case: str) -> None:
    make, message = REFUSED[case]
    with pytest.raises((ValueError, TypeError), match=message):
        ff.replicate(make, [0, 1])


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: pair(normalization=ff.normalization.RMSNorm(eps=1e-3)), "eps"),
        (lambda: pair(normalization=ff.normalization.LayerNorm()), "RMSNorm and LayerNorm"),
        (lambda: pair(loss=ff.losses.SymBa()), "SymBa"),
        (lambda: pair(negatives=ff.negatives.RandomLabel()), "RandomLabel"),
        (lambda: per_class(), "modules|and"),
    ],
)
def test_members_of_other_architectures_are_refused(other: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Replicas([pair(), other()])


def test_unsupported_optimizers_and_arguments_are_refused() -> None:
    replicas, samples = ff.replicate(per_class, SEEDS), data("pair")
    with pytest.raises(ValueError, match="optimizer must be of the class SGD, Adam, AdamW, SmoothedSGD"):
        ff.fit(replicas, samples, optimizer=ff.LocalOptimizer(torch.optim.RMSprop), progress=False)
    with pytest.raises(ValueError, match="seed must be left out"):
        ff.fit(replicas, samples, seed=1, progress=False)
    with pytest.raises(ValueError, match="train must be tensors"):
        ff.fit(replicas, list(zip(*samples, strict=True)), progress=False)
    with pytest.raises(ValueError, match="one member per replica"):
        ff.fit(replicas, samples, optimizer=ReplicaOptimizer([sgd()]), progress=False)
    with pytest.raises(ValueError, match="seeds must be one per member"):
        Replicas([per_class()], seeds=[0, 1])
    with pytest.raises(ValueError, match="at least one network"):
        ff.replicate(per_class, [])
    assert words().num_embeddings is not None
