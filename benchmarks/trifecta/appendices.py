"""Rows and columns of the studies of the Trifecta's appendices, and of its future work."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from benchmarks.cells import Content, Row
from benchmarks.claims import Claim
from benchmarks.trifecta.measures import frozen_heads, maps
from benchmarks.trifecta.parts import DEEP, SHALLOW, changed, deep, shallow, without
from forwardforward.heads import LinearHead
from forwardforward.losses import SymBa, Threshold
from forwardforward.normalization import BatchNorm, LayerNorm
from forwardforward.recipes import Recipe
from forwardforward.recipes.architectures import InvertedBottlenecks
from forwardforward.update_schedules import Blocks, Overlapping, Staggered

Column = Callable[[Content], float | None]

COMPLETE = shallow("tff-s", "TFF/s", SHALLOW, cifar10="75.23 ± 0.65")
SYMBA = without(SHALLOW, norm=True, overlap=True)

# Footnote 2

NORMALIZATION = (
    shallow("symba", "length normalization, the mean not subtracted", SYMBA, cifar10="59.22 ± 0.49"),
    shallow(
        "symba-layernorm",
        "layer normalization",
        SYMBA.replace(normalization=LayerNorm()),
        cifar10="as the reduced form",
    ),
)

# Appendix B


def with_default_weights(recipe: Recipe) -> Recipe:
    """Return a recipe with torch's initial weights, which are sqrt(6) times smaller than He's."""
    return recipe.replace(architecture=changed(recipe, init="default"))


INIT = (
    COMPLETE,
    shallow("tff-s-init", "TFF/s, torch's default initial weights", with_default_weights(SHALLOW)),
    shallow("symba", "SymBa", SYMBA, cifar10="59.22 ± 0.49"),
    shallow("symba-init", "SymBa, torch's default initial weights", with_default_weights(SYMBA)),
)

ALPHA = tuple(
    shallow("tff-s", "alpha 4", SHALLOW, cifar10="75.23 ± 0.65")
    if alpha == 4
    else shallow(
        f"tff-s-alpha{alpha}",
        f"alpha {alpha}",
        SHALLOW.replace(loss=SymBa(alpha=float(alpha))),
        cifar10="no impact" if 2 <= alpha <= 8 else "",
    )
    for alpha in (1, 2, 4, 8, 16)
)

# Section 6 and appendix C

TAU = tuple(
    shallow(
        f"ftl{tau}",
        f"threshold {tau}",
        without(SHALLOW, norm=True, overlap=True, loss=Threshold(theta=float(tau))),
        cifar10={2: "29.27 ± 2.49", 10: "44.28 ± 1.28"}.get(tau, ""),
    )
    for tau in (1, 2, 5, 10, 20)
)

# Appendix D

DECAY = (
    COMPLETE,
    *(
        shallow(
            f"tff-s-decay{decay:.0e}",
            f"weight decay {decay:.0e}",
            SHALLOW.replace(optimizer_options={"weight_decay": decay}),
            cifar10="significantly lower",
        )
        for decay in (1e-6, 1e-5, 1e-4)
    ),
)

# Appendix E


def rolling(batch_size: int, epochs: int, paper: str = "") -> Row:
    """Return a row of rolling averages in batches of another size.

    The averages go over the same number of images for every batch size, and the learning rate is proportional to the
    square root of the batch size.
    """
    share = batch_size / SHALLOW.batch_size
    if share == 1:
        normalization, line, lr = BatchNorm(affine=True, statistics="running"), "tff-s-rolling", SHALLOW.lr
    else:
        normalization = BatchNorm(momentum=0.1 * share, affine=True, statistics="running")
        line, lr = f"tff-s-rolling{batch_size}", float(f"{SHALLOW.lr * share**0.5:.3g}")
    recipe = SHALLOW.replace(normalization=normalization, batch_size=batch_size, lr=lr)
    images = "one image" if batch_size == 1 else f"{batch_size} images"
    return shallow(line, f"TFF/s, rolling averages, batches of {images}", recipe, epochs, cifar10=paper)


ROLLING = (
    COMPLETE,
    rolling(512, 100, "73.3"),
    rolling(64, 100),
    rolling(8, 100),
    rolling(1, 100),
)

# Appendix F

OVERLAP = (
    shallow("tff-s", "in turn, by step", SHALLOW, cifar10="75.23 ± 0.65"),
    shallow(
        "tff-s-olu-epoch", "in turn, by epoch (approach 1)", SHALLOW.replace(schedule=Overlapping(2, alternate="epoch"))
    ),
    shallow(
        "tff-s-olu-both",
        "both in each step (approach 2)",
        SHALLOW.replace(schedule=Overlapping(2, alternate=None)),
        cifar10="equal, slower",
    ),
    shallow(
        "tff-s-feedback",
        "in turn, by step, through random feedback weights",
        SHALLOW.replace(architecture=changed(SHALLOW, random_feedback=True)),
        cifar10="suggested",
    ),
    shallow("symba-bn", "no gradient crosses a border", without(SHALLOW, overlap=True), cifar10="68.51 ± 0.27"),
)

# Appendix H


def with_head(line: str, label: str, head_label: str, lr: float) -> Row:
    """Return a row of TFF/s with a linear head on its last three layers, which does not change the layers."""
    recipe = SHALLOW.replace(
        head=partial(LinearHead, layers=slice(-3, None), label=head_label), overrides={"head": {"lr": lr}}
    )
    return replace(shallow(line, label, recipe), measure=frozen_heads)


EVALUATION = (
    with_head("tff-s-neutral", "TFF/s, head under the neutral label", "neutral", 1e-3),
    with_head("tff-s-random", "TFF/s, head under a random label", "random", 1e-3),
    with_head("tff-s-neutral-slow", "TFF/s, head under the neutral label, learning rate 1e-5", "neutral", 1e-5),
)

# Appendix I

RESIDUAL = tuple(
    row(
        line + ("-residual" if residual else ""),
        label + (", residual" if residual else ""),
        recipe.replace(architecture=changed(recipe, residual=True)) if residual else recipe,
        epochs,
        cifar10=paper,
    )
    for row, line, label, recipe, printed in (
        (shallow, "tff-s", "TFF/s", SHALLOW, ("", "better", "75.23 ± 0.65", "4 points less")),
        (deep, "tff-d", "TFF/d", DEEP, ("", "better", "71.12 ± 0.77", "2 points less")),
    )
    for (epochs, residual), paper in zip(((30, False), (30, True), (100, False), (100, True)), printed, strict=True)
)

# Section 7 and appendix G

#: Each layer stops learning at its own time, the first after half of the training.
FREEZING = Staggered([(0.0, 0.5 + 0.1 * layer) for layer in range(len(SHALLOW.widths))])

OUTLOOK = (
    replace(shallow("tff-s-maps", "TFF/s, with Grad-CAM of every layer", SHALLOW), measure=maps),
    shallow(
        "tff-s-inverted",
        "inverted bottlenecks",
        SHALLOW.replace(architecture=InvertedBottlenecks(pools=changed(SHALLOW).pools, expansion=2)),
    ),
    shallow("tff-s-blocks2", "blocks of two layers as one unit", SHALLOW.replace(schedule=Blocks(2))),
    shallow("tff-s-blocks3", "blocks of three layers as one unit", SHALLOW.replace(schedule=Blocks(3))),
    shallow("symba-bn", "SymBa + BN, every layer by itself", without(SHALLOW, overlap=True), cifar10="68.51 ± 0.27"),
    shallow(
        "symba-bn-freezing",
        "SymBa + BN, layers frozen one after the other",
        without(SHALLOW, overlap=True, schedule=FREEZING),
    ),
)


# Columns


def seconds_per_epoch(content: Content) -> float | None:
    """Return the median time of an epoch."""
    seconds = content.get("history", {}).get("seconds")
    return statistics.median(seconds) if seconds else None


def entry(name: str, layer: int | None = None) -> Column:
    """Return a function from a cell to an entry of its result, or to one layer's value of it."""

    def value(content: Content) -> float | None:
        values: Any = content["result"].get(name)
        return values if values is None or layer is None else values[layer]

    return value


def layer_accuracy(layer: int) -> Column:
    """Return a function from a cell to the test accuracy by one layer's goodness."""

    def value(content: Content) -> float | None:
        errors = content["result"].get("layer_errors")
        return None if errors is None else 100 - errors[layer]

    return value


def last_separation(layer: int) -> Column:
    """Return a function from a cell to a layer's separation in the last epoch in which it was updated."""

    def value(content: Content) -> float | None:
        values = [layers[layer] for layers in content["history"].get("separation", [])]
        known = [value for value in values if value is not None]
        return known[-1] if known else None

    return value


def head_accuracy(content: Content) -> float | None:
    """Return the accuracy of the head that was trained along."""
    error = content["result"].get("head_error")
    return None if error is None else 100 - float(error)


DEPTH = len(SHALLOW.widths)
TIME: Mapping[str, Column] = {"seconds per epoch": seconds_per_epoch}
SEPARATION: Mapping[str, Column] = {
    f"separation, layer {layer}": last_separation(layer) for layer in (0, DEPTH // 2, DEPTH - 1)
}
BY_LAYER: Mapping[str, Column] = {f"layer {layer}": layer_accuracy(layer) for layer in range(DEPTH)}
LARGEST_WEIGHT: Mapping[str, Column] = {
    f"largest weight, layer {layer}": entry("largest_weight", layer) for layer in (0, DEPTH - 1)
}
WAYS_TO_CLASSIFY: Mapping[str, Column] = {
    "goodness, three last layers": entry("last_three_accuracy"),
    "goodness, all layers but the first": entry("but_first_accuracy"),
    "goodness, all layers": entry("all_accuracy"),
    "linear head, trained along": head_accuracy,
    **{
        f"{kind} head, frozen network, {label} label": entry(f"frozen_{label}_{key}")
        for label in ("neutral", "random")
        for kind, key in (("linear", "linear"), ("two-layer", "hidden"))
    },
}

# Claims, by study


CLAIMS: Mapping[str, list[Claim]] = {
    "normalization": [
        Claim(
            "the two forms of layer normalization are equal up to 2 points",
            "symba-layernorm-100",
            "symba-100",
            "equal",
            tolerance=2.0,
        )
    ],
    "rolling": [
        Claim("rolling averages cost accuracy", "tff-s-100", "tff-s-rolling-100", "+1.93"),
        Claim(
            "batches of one train as well as batches of 512, up to 3 points",
            "tff-s-rolling-100",
            "tff-s-rolling1-100",
            "expected",
            tolerance=3.0,
        ),
    ],
    "overlap": [
        Claim("both approaches are equal up to 1 point", "tff-s-olu-both-100", "tff-s-olu-epoch-100", "equal", 1.0),
        Claim(
            "updating both in each step takes longer per epoch (seconds)",
            "tff-s-olu-both-100",
            "tff-s-olu-epoch-100",
            "slower",
            figure=seconds_per_epoch,
        ),
        Claim("gradients through random weights help", "tff-s-feedback-100", "symba-bn-100", "suggested"),
        Claim("the exact gradients help more", "tff-s-100", "tff-s-feedback-100"),
    ],
    "residual": [
        Claim(f"residuals are {word} for TFF/{size} after {epochs} epochs", *pair, paper)
        for size, final in (("s", "-4"), ("d", "-2"))
        for epochs, word, paper in ((30, "better", "better"), (100, "worse", final))
        for pair in [
            (f"tff-{size}-residual-{epochs}", f"tff-{size}-{epochs}")
            if word == "better"
            else (f"tff-{size}-{epochs}", f"tff-{size}-residual-{epochs}")
        ]
    ],
    "alpha": [
        Claim(f"alpha {alpha} and 4 are equal up to 1 point", f"tff-s-alpha{alpha}-100", "tff-s-100", "equal", 1.0)
        for alpha in (2, 8)
    ],
    "tau": [
        Claim("a threshold of 10 is better than one of 2", "ftl10-100", "ftl2-100", "+15.01"),
    ],
    "decay": [
        Claim(f"weight decay {decay:.0e} costs accuracy", "tff-s-100", f"tff-s-decay{decay:.0e}-100", "significantly")
        for decay in (1e-6, 1e-5, 1e-4)
    ],
    "evaluation": [
        Claim(
            "a random label is better than the neutral one",
            "tff-s-random-100",
            "tff-s-neutral-100",
            "slightly",
            figure=head_accuracy,
        ),
    ],
}
