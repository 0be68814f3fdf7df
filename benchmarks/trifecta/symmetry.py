"""Appendix C of the Trifecta: the symmetry of the losses, from their formulas and without training.

    python -m benchmarks.trifecta.symmetry

For errors d+ and d- of a positive and a negative sample, the paper asks whether a false positive costs as much as a
false negative, L(t + d+, t + d-) = L(t - d+, t - d-), and whether both are corrected by equal gradients. The table and
the figure in docs/papers/trifecta.md are written from the library's losses.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.command_line import Parser, one_line_errors
from benchmarks.pages import ROOT, filled, write
from benchmarks.pictures import Panel, picture
from forwardforward.losses import PairLoss, SymBa, Threshold

PAGE = ROOT / "docs" / "papers" / "trifecta.md"
FIGURE = ROOT / "benchmarks" / "results" / "trifecta" / "figures" / "symmetry.png"

THETA = 2.0
LOSSES: dict[str, PairLoss] = {"threshold 2": Threshold(theta=THETA), "SymBa, alpha 1": SymBa(alpha=1.0)}

#: Pairs of errors of the table: equal ones, and one larger than the other.
ERRORS = ((0.5, 0.5), (1.0, 0.5), (0.5, 1.0), (1.5, 0.5), (2.0, 0.5))


def loss_and_gradients(loss: PairLoss, positive: float, negative: float) -> tuple[float, float, float]:
    """Return a loss at one pair of goodnesses, and its derivatives with respect to them."""
    g = torch.tensor([[positive], [negative]], dtype=torch.float64, requires_grad=True)
    value: Tensor = loss(g[0], g[1])
    [gradient] = torch.autograd.grad(value, g)
    return float(value.detach()), float(gradient[0]), float(gradient[1])


def comparisons(loss: PairLoss, of_positive: float, of_negative: float) -> list[float]:
    """Return the figures of one pair of errors.

    Returns:
        The loss of a false positive and of a false negative; the sizes of the gradients that correct them, of the
        false positive's negative goodness and of the false negative's positive goodness; and the ratio of the false
        positive's two gradients.
    """
    false_positive = loss_and_gradients(loss, THETA + of_positive, THETA + of_negative)
    false_negative = loss_and_gradients(loss, THETA - of_positive, THETA - of_negative)
    gradients = abs(false_positive[2]), abs(false_negative[1])
    return [false_positive[0], false_negative[0], *gradients, abs(false_positive[1] / false_positive[2])]


#: Headings of the table.
HEAD = (
    "loss",
    "d+",
    "d-",
    "loss, false positive",
    "loss, false negative",
    "gradient, negative of the false positive",
    "gradient, positive of the false negative",
    "positive / negative gradient, false positive",
)


def table() -> str:
    """Return the Markdown table of every loss and pair of errors."""
    lines = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    for name, loss in LOSSES.items():
        for errors in ERRORS:
            numbers = [*errors, *comparisons(loss, *errors)]
            lines.append(f"| {name} | " + " | ".join(f"{number:.3g}" for number in numbers) + " |")
    return "\n".join(lines)


def field(name: str, loss: PairLoss) -> Panel:
    """Return a panel of a loss over both goodnesses, with arrows against its gradient."""

    def paint(axis: Any, cells: Any) -> None:
        steps = torch.linspace(0, 2 * THETA, 41).tolist()
        axis.contourf(steps, steps, [[loss_and_gradients(loss, p, n)[0] for p in steps] for n in steps], levels=20)
        points = [(p, n) for p in steps[2::6] for n in steps[2::6]]
        gradients = [loss_and_gradients(loss, *point) for point in points]
        axis.quiver(
            *zip(*points, strict=True), [-g[1] for g in gradients], [-g[2] for g in gradients], color="white", scale=18
        )
        axis.axline((0, 0), slope=1, color="white", linestyle="--", linewidth=1)
        axis.set(xlabel="positive goodness", ylabel="negative goodness", title=name)

    return paint


def main(arguments: Sequence[str] | None = None, page: Path = PAGE, figure: Path = FIGURE) -> None:
    """Write the table and the figure.

    Args:
        arguments: Words after the program's name; default: those of the process.
        page: Page with the markers ``symmetry``.
        figure: File of the figure.
    """
    parser = Parser(prog="python -m benchmarks.trifecta.symmetry", description=__doc__)
    parser.parse_args(arguments)
    with one_line_errors(parser.prog, "nothing"):
        drawing = picture("Losses of one pair, and the direction of descent", [field(*e) for e in LOSSES.items()], {})
        figure.parent.mkdir(parents=True, exist_ok=True)
        drawing.savefig(figure, dpi=110)
        link = f"![Losses of one pair]({os.path.relpath(figure, page.parent)})"
        write(page, filled(page, "symmetry", f"{table()}\n\n{link}\n"))


if __name__ == "__main__":
    main()
