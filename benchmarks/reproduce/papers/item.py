"""Papers and their items: tables, figures, claims and open questions."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Item", "Paper", "train"]


@dataclass(frozen=True)
class Item:
    """A table, figure, claim or open question of a paper.

    Args:
        name: Its name in the paper.
        shows: What it shows, in words; in a claim, with the paper's figures.
        studies: The studies with its cells, as on the command line: ``NAME`` or ``NAME/STUDY``.
        cells: Patterns of the names of its cells among those of the studies.
        smaller: Studies that show it in a shorter training.
        runs: Pattern of the summaries of runs of the command line in benchmarks/results that reproduce it.
        smaller_runs: Pattern of the summaries of shorter runs.
        command: Command that reproduces it; default: that of the studies.
        remark: What takes the place of a training, or why there is none.
        data: Data set of its cells, if all have the same.
    """

    name: str
    shows: str
    studies: str = ""
    cells: tuple[str, ...] = ("*",)
    smaller: str = ""
    runs: str = ""
    smaller_runs: str = ""
    command: str = ""
    remark: str = ""
    data: str = ""


@dataclass(frozen=True)
class Paper:
    """A paper.

    Args:
        number: Number on arXiv.
        name: Name in lists, and of the items' markers on the page of commands.
        title: Title, with authors and year.
        page: Page of the documentation below docs/papers, without suffix.
        question: What it asks.
        items: Its tables, figures, claims and open questions, in its order.
    """

    number: str
    name: str
    title: str
    page: str
    question: str
    items: tuple[Item, ...]


def train(words: str) -> str:
    """Return the command of the library that trains a recipe."""
    return f"python -m forwardforward train {words}"
