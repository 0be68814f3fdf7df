"""Self-supervision: what networks learn from pretexts, and how well it serves another task (arXiv 2309.11955).

    python -m benchmarks.self_supervision STUDY [--data-dir DIR]

trains the missing cells of a study and writes its tables and figures beside the cells, to
benchmarks/results/self_supervision, and to docs/papers/self_supervision.md. STUDY is one of these, which share cells,
or `all`:

    pretexts         Forward-Forward and backpropagation on rotation, flip and jigsaw; unsupervised Forward-Forward
    supervised       Forward-Forward and backpropagation on the images' own classes
    losses           three losses, each with local and with end-to-end gradients: does the loss or the locality harm?
    unlabeled        training on images without any labels, hybrid masks and self-contrastive pairs
    convolutional    the losses again in a small residual network of convolutions

The network is that of the paper: four dense layers of 2000 ReLUs, normalization between layers, Adam at 1e-4, the label
of the pretext in the first pixels. A cell's accuracy is that on its own task; its transfer is the accuracy on the
images' own classes of linear classifiers on the frozen features of each layer, and of all layers together. Networks
that are trained on images without labels, or by a contrastive loss, classify by a linear head on all layers but the
first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.bench import Bench
from benchmarks.cells import Content, Row, Setting
from benchmarks.pages import ROOT
from benchmarks.self_supervision.claims import loss_or_locality, pretext_claims, supervised_claim
from benchmarks.self_supervision.figures import draw_all, draw_maps, draw_transfer, layer_tables
from benchmarks.self_supervision.methods import CONVOLUTIONAL, DENSE, EPOCHS, METHODS, UNLABELED
from benchmarks.self_supervision.transfer import measure
from benchmarks.tables import Cells, Study
from forwardforward.data.pretexts import Flip, Jigsaw, Pretext, Rotation
from forwardforward.recipes import Recipe

__all__ = ["BENCH"]

PRETEXTS: dict[str, Pretext] = {"rotation": Rotation(), "flip": Flip(), "jigsaw": Jigsaw()}
DATA = ("mnist", "fashion-mnist", "cifar10", "svhn")
UNAVAILABLE = ("svhn",)

#: The setting that is affordable on two cores with bf16 units.
REDUCED = Setting(epochs=10, batch_size=256, precision="bf16")
REDUCED_CONVOLUTIONAL = Setting(epochs=10, images=20_000, precision="bf16")

#: Methods of the paper's comparison, and of the comparison of losses.
COMPARED = ("ff", "bp", "ff-joint")
LOSSES = ("ff", "ff-joint", "class", "class-joint", "contrast", "contrast-joint", "groups", "bp")


def row(task: str, method: str, recipe: Recipe) -> Row:
    """Return the row of a method on a task: a pretext, the images' own classes, or none."""
    line = "-".join(filter(None, (task, method)))
    label = ": ".join(filter(None, (task, METHODS[method])))
    is_compiled = recipe.baseline is None
    return Row(line, label, recipe, EPOCHS, pretext=PRETEXTS.get(task.removeprefix("conv-")), compile=is_compiled)


def rows_of(methods: Sequence[str]) -> tuple[Row, ...]:
    """Return the rows of methods on every pretext."""
    return tuple(row(pretext, method, DENSE[method]) for pretext in PRETEXTS for method in methods)


ON_PRETEXTS, BY_LOSS = rows_of(COMPARED), rows_of(LOSSES)
WITHOUT_LABELS = tuple(row("", method, recipe) for method, recipe in UNLABELED.items())
HYBRID, SELF_CONTRAST = WITHOUT_LABELS
SUPERVISED = tuple(row("supervised", method, DENSE[method]) for method in ("ff", "bp", "ff-joint", "class"))
IN_CONVOLUTIONS = tuple(row("conv-rotation", method, recipe) for method, recipe in CONVOLUTIONAL.items())


def transfer_of(layer: int) -> Callable[[Content], float | None]:
    """Return a function from a cell to its transfer by one layer, or by all layers for -1."""

    def value(content: Content) -> float | None:
        transfer = content["result"].get("transfer")
        return None if transfer is None else float(transfer[layer])

    return value


COLUMNS = {"transfer": transfer_of(-1)}


def remark(rows: Sequence[Row], references: str, *claims: Callable[[Cells], str]) -> Callable[[Cells], str]:
    """Return a function that returns verdicts, and the transfer by layer, below a table."""
    lines = {entry.line: entry.label for entry in rows}

    def text(cells: Cells) -> str:
        parts = [*(claim(cells) for claim in claims), layer_tables(cells, lines, references)]
        return "\n\n".join(filter(None, parts))

    return text


def panels(rows: Sequence[Row], extra: Sequence[Row] = ()) -> dict[str, dict[str, str]]:
    """Return the rows of each pretext's panel, by its title, with other rows in each."""
    return {
        pretext: {
            entry.line: entry.label.removeprefix(f"{pretext}: ")
            for entry in (*rows, *extra)
            if entry in extra or entry.line.startswith(f"{pretext}-")
        }
        for pretext in PRETEXTS
    }


MAPPED = (*(entry for entry in ON_PRETEXTS if entry.line.startswith("rotation")), HYBRID)

STUDIES = (
    Study(
        "pretexts",
        "Pretexts: accuracy on the pretext, and transfer",
        (*ON_PRETEXTS, HYBRID),
        DATA,
        unavailable=UNAVAILABLE,
        reduced=REDUCED,
        columns=COLUMNS,
        remark=remark((*ON_PRETEXTS, HYBRID), HYBRID.line, lambda cells: pretext_claims(cells, tuple(PRETEXTS))),
        draw=draw_all(
            draw_transfer("transfer", "Transfer by layer", panels(ON_PRETEXTS, [HYBRID]), HYBRID.line),
            draw_maps("map", "Features of the last layer", {entry.name: entry.label for entry in MAPPED}, columns=2),
        ),
    ),
    Study(
        "supervised",
        "Supervised training",
        SUPERVISED,
        DATA,
        unavailable=UNAVAILABLE,
        reduced=REDUCED,
        columns=COLUMNS,
        remark=remark(SUPERVISED, HYBRID.line, supervised_claim),
    ),
    Study(
        "losses",
        "Loss or locality",
        (*BY_LOSS, HYBRID),
        DATA,
        unavailable=UNAVAILABLE,
        reduced=REDUCED,
        columns=COLUMNS,
        remark=remark((*BY_LOSS, HYBRID), HYBRID.line, lambda cells: loss_or_locality(cells, tuple(PRETEXTS))),
        draw=draw_transfer("losses", "Transfer by layer", panels(BY_LOSS), HYBRID.line),
    ),
    Study(
        "unlabeled",
        "Images without labels",
        WITHOUT_LABELS,
        DATA,
        unavailable=UNAVAILABLE,
        reduced=REDUCED,
        columns=COLUMNS,
        remark=remark(WITHOUT_LABELS, HYBRID.line),
    ),
    Study(
        "convolutional",
        "A small residual network",
        IN_CONVOLUTIONS,
        ("cifar10",),
        reduced=REDUCED_CONVOLUTIONAL,
        columns=COLUMNS,
        remark=remark(IN_CONVOLUTIONS, "conv-rotation-bp", lambda cells: loss_or_locality(cells, ("conv-rotation",))),
        draw=draw_transfer(
            "convolutional",
            "Transfer by layer",
            {"rotation": {entry.line: entry.label for entry in IN_CONVOLUTIONS}},
            "conv-rotation-bp",
        ),
    ),
)

BENCH = Bench(
    "benchmarks.self_supervision",
    STUDIES,
    paper="2309.11955",
    measure=measure,
    page=ROOT / "docs" / "papers" / "self_supervision.md",
    about=__doc__ or "",
)
