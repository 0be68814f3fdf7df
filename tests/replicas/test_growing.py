"""Replicas that grow while they train."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import forwardforward as ff
from forwardforward.training import GrowNetwork
from tests.replicas.cases import SEEDS, alone, data, difference, per_class, sgd


def grow() -> GrowNetwork:
    """Append a layer after the first epoch; its goodness has weights too."""
    return GrowNetwork(lambda depth: ff.FFLinear(7, 7).double(), condition=lambda history: len(history) == 1)


def test_members_grow_as_networks_that_are_trained_by_themselves() -> None:
    replicas, samples = ff.replicate(per_class, SEEDS), data("per_class")
    history = ff.fit(replicas, samples, epochs=3, batch_size=8, optimizer=sgd(), callbacks=[grow()], progress=False)
    assert [len(record["layers"]) for record in history] == [2, 3, 3]
    for index, seed in enumerate(SEEDS):
        model, _ = alone(per_class, seed, samples, epochs=3, optimizer=sgd(), callbacks=[grow()])
        assert difference(replicas.member(index), model) < 1e-8


def test_replicas_that_grow_resume_with_the_same_weights(tmp_path: Path) -> None:
    samples, path = data("per_class"), tmp_path / "run.pt"

    def train(epochs: int, **options: Any) -> ff.Replicas:
        replicas = ff.replicate(per_class, SEEDS)
        settings: dict[str, Any] = {"batch_size": 8, "optimizer": sgd(), "callbacks": [grow()], "progress": False}
        ff.fit(replicas, samples, epochs=epochs, **settings, **options)
        return replicas

    train(2, checkpoint=path)
    assert difference(train(3, checkpoint=path, resume=True), train(3)) == 0


def test_layers_that_do_not_fit_change_no_member() -> None:
    replicas = ff.replicate(per_class, SEEDS)
    before = replicas.state_dict()
    fitting = [ff.FFLinear(7, 7).double() for _ in SEEDS[1:]]
    with pytest.raises(ValueError, match="layers must be one per member, 3, got 2"):
        replicas.append(fitting)
    with pytest.raises(ValueError, match="in_features must be"):
        replicas.append([*fitting, ff.FFLinear(6, 7).double()])
    with pytest.raises(ValueError, match="members must have the same architecture"):
        replicas.append([*fitting, ff.FFLinear(7, 6).double()])
    assert {name: value.shape for name, value in replicas.state_dict().items()} == {
        name: value.shape for name, value in before.items()
    }
    assert replicas.predict(data("per_class")[0]).shape == (len(SEEDS), 37)
    assert torch.equal(replicas._stacked.tensors["layers.0.block.weight"][0], replicas.members[0][0].block.weight)
