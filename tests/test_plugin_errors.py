"""Errors of plug-ins and of functions of another form name the argument."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import forwardforward as ff
from forwardforward._utils.plugins import calling

DATA = torch.rand(12, 6), torch.arange(12) % 3


def network(**plugins: object) -> ff.FFSequential:
    options = {"goodness": ff.goodness.ClassGroups(3), "loss": ff.losses.CrossEntropy(), **plugins}
    return ff.FFSequential(ff.FFLinear(6, 6), **options)  # type: ignore[arg-type]


def test_an_error_of_a_plugin_names_the_argument_and_keeps_its_cause() -> None:
    def shape_of(x: int) -> int:
        return x.shape  # type: ignore[attr-defined,no-any-return]

    message = "^augment must be callable as x -> y, got the function shape_of, which raised AttributeError: "
    with pytest.raises(TypeError, match=message) as info, calling("augment", shape_of, "x -> y"):
        shape_of(1)
    assert isinstance(info.value.__cause__, AttributeError)
    with pytest.raises(ValueError, match="^augment 3: wrong$"), calling("augment", 3, "x -> y"):
        raise ValueError("wrong")
    with pytest.raises(torch.OutOfMemoryError), calling("augment", 3, "x -> y"):
        raise torch.OutOfMemoryError


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("augment", lambda: ff.fit(network(), DATA, augment=ff.losses.CrossEntropy(), epochs=1, progress=False)),
        ("schedule", lambda: ff.fit(network(), DATA, schedule=ff.negatives.SelfContrast(), epochs=1, progress=False)),
        ("lr_schedule", lambda: ff.LocalOptimizer(torch.optim.Adam, lr_schedule=len)),
        ("theta_schedule", lambda: ff.losses.Threshold(theta_schedule=nn.Linear(6, 3))),
        ("factory", lambda: ff.LocalOptimizer(nn.ModuleList())),
        ("classifier", lambda: network(classifier=len).predict(DATA[0])),
        ("normalization", lambda: ff.FFLinear(6, 6, normalization=nn.LSTM(6, 3))),
        ("normalization", lambda: network(normalization=ff.goodness.SumOfSquares(), input_shape=(6,))),
        (
            "goodness",
            lambda: ff.FFLinear(6, 6, objective=ff.objectives.ClassObjective(print, ff.losses.CrossEntropy())),
        ),
        ("pool", lambda: ff.FFLinear(6, 6, pool=lambda x: x.sum())),
        ("params", lambda: ff.optimizers.SmoothedSGD([])),
        (r"augmentations\[1\]", lambda: ff.data.Compose(ff.data.RandomFlip(), nn.Flatten())),
        ("layers", lambda: ff.classifiers.SumOverLayers(slice("a", "b"))),
        ("groups", lambda: ff.FFConv2d(1, 6, 3, groups=4)),
        ("optimizer_options", lambda: ff.LocalOptimizer(torch.optim.Adam).attach(network_of_options())),
        ("names", lambda: ff.LocalOptimizer(torch.optim.Adam).attach(network()).step("7")),
        ("names", lambda: ff.LocalOptimizer(torch.optim.Adam).attach(network()).zero_grad(None)),
        ("device", lambda: ff.TensorData(*DATA).to("nowhere")),
        ("shape", lambda: ff.FFLinear(6, 6).setup("max")),
        ("skip_shape", lambda: ff.FFLinear(6, 6).setup((6,), skip_shape=3)),
        ("inputs", lambda: ff.preprocessing.Preprocessing().fit(Path())),
        ("images", lambda: pair_network().goodness(torch.rand(12, 7), DATA[1])),
        ("data", lambda: network().predict_proba([nn.ReLU()])),
        ("labels", lambda: ff.classifiers.GoodnessReadout(3, 2).fit(torch.rand(12, 2, 3), torch.arange(12))),
        ("goodness", lambda: ff.classifiers.GoodnessReadout(3, 2).fit(torch.rand(12, 3), DATA[1])),
        ("goodness", lambda: ff.classifiers.GoodnessReadout(3, 2).fit(torch.full((12, 2, 3), torch.nan), DATA[1])),
        ("words", lambda: ff.data.text.Lexicon(["a"]).ids([np.zeros(3)])),
        ("path", lambda: ff.training.load_checkpoint("\0")),
    ],
)
def test_wrong_values_are_refused_by_name(name: str, call: Callable[[], object]) -> None:
    with pytest.raises((TypeError, ValueError)) as info:
        call()
    message = str(info.value)
    assert "\n" not in message
    assert re.match(rf"(layer \d+: )?{name}(?![a-z])", message), message


def network_of_options() -> ff.FFSequential:
    return ff.FFSequential(
        ff.FFLinear(6, 6, optimizer_options={"a": 1}),
        goodness=ff.goodness.ClassGroups(3),
        loss=ff.losses.CrossEntropy(),
    )


def pair_network() -> ff.FFSequential:
    layer = ff.FFLayer(nn.Linear(9, 5), activation=nn.ReLU())
    return ff.FFSequential(
        layer,
        goodness=ff.goodness.SumOfSquares(),
        loss=ff.losses.SymBa(),
        label_encoder=ff.label_encoders.Concatenation(3),
        input_shape=(6,),
    )


def test_a_checkpoint_is_not_started_anew_behind_a_link_to_a_missing_file(tmp_path: Path) -> None:
    link = tmp_path / "checkpoint.pt"
    link.symlink_to(tmp_path / "unmounted" / "checkpoint.pt")
    with pytest.raises(ValueError, match="^checkpoint .* must not be a link to a file that does not exist, got "):
        ff.fit(network(), DATA, epochs=1, checkpoint=link, resume=True, progress=False)
    assert link.is_symlink()


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning", "ignore:.*torch.jit:FutureWarning")
def test_traced_and_scripted_modules_are_blocks_and_modules_without_an_initialization_are_not() -> None:
    for block in (torch.jit.trace(nn.Linear(6, 5), torch.rand(1, 6)), torch.jit.script(nn.Linear(6, 5))):
        assert ff.FFLayer(block)(torch.rand(2, 6)).shape == (2, 5)

    class Uninitialized(nn.Module):
        def __init__(self) -> None:
            pass

    with pytest.raises(TypeError, match=r"^block must call super\(\).__init__\(\) in its constructor"):
        ff.FFLayer(Uninitialized())


@pytest.mark.parametrize(
    ("objective", "form"),
    [
        (ff.objectives.ClassObjective(ff.goodness.ClassGroups(3), ff.normalization.PeerNormalization()), "targets"),
        (ff.objectives.PairObjective(ff.goodness.SumOfSquares(), nn.functional.cosine_similarity), "negative"),
    ],
)
def test_a_loss_of_another_kind_is_refused_when_the_layer_is_set_up(objective: nn.Module, form: str) -> None:
    with pytest.raises(TypeError, match=rf"loss must be callable as \(\w+, {form}\) -> loss, got .* which raised"):
        ff.FFLinear(6, 6, objective=objective).setup((6,))


def test_learned_maps_are_refused_if_they_do_not_fit_into_memory_with_gradient_and_momentum(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("forwardforward._utils.memory._memory", lambda: 4 * 3 * 10 * 8 * 8 - 1)
    with pytest.raises(ValueError, match=r"^num_classes and size must lead to tensors that fit"):
        ff.label_encoders.LearnedChannel(10, size=8)
    assert ff.label_encoders.RandomChannel(10, size=8).codebook.shape == (10, 1, 8, 8)
