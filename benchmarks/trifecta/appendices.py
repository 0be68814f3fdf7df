"""Rows of the studies of the Trifecta's appendices, and of its future work."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from benchmarks.cells import Row
from benchmarks.trifecta.measures import frozen_heads, maps
from benchmarks.trifecta.parts import DEEP, SHALLOW, WithDropout, changed, deep, shallow, without
from forwardforward.heads import LinearHead
from forwardforward.losses import SymBa, Threshold
from forwardforward.normalization import BatchNorm, LayerNorm
from forwardforward.recipes import Recipe
from forwardforward.recipes.architectures import InvertedBottlenecks
from forwardforward.update_schedules import Blocks, Overlapping, Staggered

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

# Footnote 5

DROPPING = SHALLOW.replace(architecture=WithDropout(**vars(changed(SHALLOW))))
DROPOUT = tuple(
    shallow(line, label, recipe, epochs, cifar10=paper)
    for line, label, recipe, printed in (
        ("tff-s", "TFF/s", SHALLOW, ("", "75.23 ± 0.65")),
        ("tff-s-dropout", "TFF/s, dropout of 0.2", DROPPING, ("slower", "equal")),
    )
    for epochs, paper in zip((30, 100), printed, strict=True)
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


def scaled_rate(batch_size: int) -> float:
    """Return the learning rate of another batch size, proportional to its square root."""
    return float(f"{SHALLOW.lr * (batch_size / SHALLOW.batch_size) ** 0.5:.3g}")


def rolling(batch_size: int, epochs: int, paper: str = "") -> Row:
    """Return a row of rolling averages in batches of another size.

    The averages go over the same number of images for every batch size.
    """
    share = batch_size / SHALLOW.batch_size
    if share == 1:
        normalization, line = BatchNorm(affine=True, statistics="running"), "tff-s-rolling"
    else:
        normalization = BatchNorm(momentum=0.1 * share, affine=True, statistics="running")
        line = f"tff-s-rolling{batch_size}"
    recipe = SHALLOW.replace(normalization=normalization, batch_size=batch_size, lr=scaled_rate(batch_size))
    images = "one image" if batch_size == 1 else f"{batch_size} images"
    return shallow(line, f"TFF/s, rolling averages, batches of {images}", recipe, epochs, cifar10=paper)


#: Batch statistics in batches of the size of the second row of rolling averages.
SMALLER = shallow(
    "tff-s-batch64",
    "TFF/s, batch statistics, batches of 64 images",
    SHALLOW.replace(batch_size=64, lr=scaled_rate(64)),
)

ROLLING = (
    COMPLETE,
    rolling(512, 100, "73.3"),
    SMALLER,
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
