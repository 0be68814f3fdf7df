"""Verdicts on the paper's claims, each by a criterion that is stated beside it and computed from the finished cells."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence

from benchmarks.self_supervision.results import (
    LEAST,
    Difference,
    accuracies,
    by_layer,
    compared,
    data_sets,
    differences,
    transfers,
)
from benchmarks.tables import DATA, Cells

__all__ = ["loss_or_locality", "pretext_claims", "supervised_claim"]

#: Difference in points up to which two accuracies are comparable.
COMPARABLE = 2.0

#: Share of the gap to backpropagation that another method may close and still count as harmed as much.
CLOSED = 0.5

NOT_RUN = "not run"

#: Losses other than the pair goodness, by the name of their local method.
OTHER_LOSSES = {"class": "per-class", "contrast": "contrastive"}


def verdict(
    differences: Sequence[Difference], holds: Callable[[Difference], bool] = lambda difference: difference.is_more
) -> str:
    """Return the verdict on a claim.

    Args:
        differences: The differences on all tasks; those of one seed do not count.
        holds: Whether the claim's criterion holds for a difference.
    """
    answers = [holds(difference) for difference in differences if difference.counts]
    if not answers:
        return "undecided: one seed" if differences else NOT_RUN
    if all(answers):
        return f"**confirmed** ({len(answers)} of {len(answers)})"
    kind = "refuted" if not any(answers) else "undecided"
    return f"**{kind}** ({sum(answers)} of {len(answers)})"


def table(rows: Iterable[tuple[str, str, Sequence[object], str]]) -> str:
    """Return claims in Markdown: the claim, its criterion, the figures and the verdict."""
    lines = ["| claim | criterion | points | verdict |", "|---|---|---|---|"]
    lines += [
        f"| {claim} | {criterion} | {'; '.join(map(str, figures))} | {judged} |"
        for claim, criterion, figures, judged in rows
    ]
    return "\n".join(lines)


def pretext_claims(cells: Cells, pretexts: Sequence[str]) -> str:
    """Return the verdicts on transfer from pretexts.

    Args:
        cells: The cells of all pretexts.
        pretexts: Beginnings of their rows' lines.
    """
    behind = differences(cells, pretexts, "{}-bp", "{}-ff")
    closed = differences(cells, pretexts, "{}-ff-joint", "{}-ff")
    gaps = {difference.task: difference for difference in behind if difference.is_more}
    shared = [difference for difference in closed if difference.task in gaps and gaps[difference.task].counts]
    no_gap = "does not apply: no gap to close" if closed else NOT_RUN
    ahead = differences(cells, pretexts, "hybrid", "{}-ff")
    falls = fall_with_depth(cells, pretexts)
    gains = gain_by_training(cells, pretexts)
    margin = f"more than {LEAST:g} point and twice the standard error over the seeds"
    return table(
        [
            (
                "Forward-Forward transfers worse than backpropagation",
                f"backpropagation is ahead by {margin}",
                behind,
                verdict(behind),
            ),
            (
                "backpropagation of the goodness losses transfers as badly",
                f"it closes less than {CLOSED:.0%} of Forward-Forward's gap",
                [f"{closed} of {gaps[closed.task].points:.1f}" for closed in shared],
                verdict(shared, lambda closed: closed.points < CLOSED * gaps[closed.task].points) if shared else no_gap,
            ),
            (
                "unsupervised Forward-Forward transfers better",
                f"hybrid masks are ahead by {margin}",
                ahead,
                verdict(ahead),
            ),
            (
                "layers drop what their task does not need",
                f"the first layer transfers better than the last one of Forward-Forward, by {margin}",
                falls,
                verdict(falls),
            ),
            (
                "control: training on a pretext improves the features at all",
                f"backpropagation is ahead of an untrained network by {margin}; elsewhere the other differences mean "
                "little",
                gains,
                verdict(gains),
            ),
        ]
    )


def gain_by_training(cells: Cells, pretexts: Sequence[str]) -> list[Difference]:
    """Return the difference in transfer between backpropagation and an untrained network, by task."""
    return compared(
        cells,
        pretexts,
        lambda pretext, data: transfers(cells, f"{pretext}-bp", data),
        lambda pretext, data: [layers[-1] for layers in by_layer(cells, "hybrid", data, "untrained")],
    )


def fall_with_depth(cells: Cells, pretexts: Sequence[str]) -> list[Difference]:
    """Return the difference in transfer between Forward-Forward's first and last layer, by task."""
    return compared(
        cells,
        pretexts,
        lambda pretext, data: transfers(cells, f"{pretext}-ff", data, 0),
        lambda pretext, data: transfers(cells, f"{pretext}-ff", data, -2),
    )


def supervised_claim(cells: Cells) -> str:
    """Return the verdict on supervised training."""
    found = []
    for data in data_sets(cells):
        pair = [accuracies(cells, f"supervised-{method}", data) for method in ("bp", "ff")]
        if all(pair):
            found.append(Difference.of(DATA.get(data, data), *pair))
    return table(
        [
            (
                "Forward-Forward is comparable with backpropagation in supervised training",
                f"backpropagation is ahead by at most {COMPARABLE:g} points",
                found,
                verdict(found, lambda difference: difference.points <= COMPARABLE),
            )
        ]
    )


def loss_or_locality(cells: Cells, pretexts: Sequence[str]) -> str:
    """Return the effects of loss and locality on transfer, and which of them harms it.

    Each other loss makes a square of four methods: pair goodness or the other loss, local or end to end. The effect of
    the loss is its mean gain over both gradients; the effect of locality is the mean gain of end-to-end gradients over
    both losses.

    Args:
        cells: The cells of all methods.
        pretexts: Beginnings of the rows' lines.
    """
    lines = [
        "| task | other loss | pair, local | pair, end to end | other, local | other, end to end "
        "| effect of the loss | effect of locality |",
        "|" + "---|" * 8,
    ]
    effects: dict[str, list[tuple[float, float]]] = {}
    for other, words in OTHER_LOSSES.items():
        for pretext in pretexts:
            for data in data_sets(cells):
                square = [
                    transfers(cells, f"{pretext}-{method}", data)
                    for method in ("ff", "ff-joint", other, f"{other}-joint")
                ]
                if not all(square):
                    continue
                a, b, c, d = map(statistics.mean, square)
                loss, locality = (c + d - a - b) / 2, (b + d - a - c) / 2
                counted = effects.setdefault(words, [])
                if min(map(len, square)) > 1:
                    counted.append((loss, locality))
                means = " | ".join(f"{value:.1f}" for value in (a, b, c, d))
                task = f"{pretext} on {DATA.get(data, data)}"
                lines.append(f"| {task} | {words} | {means} | {loss:+.1f} | {locality:+.1f} |")
    if not effects:
        return f"Loss or locality: {NOT_RUN}."
    answers = [f"against the {words} loss, {answer(found)}" for words, found in effects.items()]
    return "\n".join(lines) + f"\n\nWhat harms transfer: {'; '.join(answers)}."


def answer(effects: Sequence[tuple[float, float]]) -> str:
    """Return which of loss and locality harms transfer, by their mean effects over the tasks.

    One of them does if its effect is above the least difference and at least twice the other's; both do if both are
    above it. Effects of one seed do not count.
    """
    if not effects:
        return "undecided: one seed"
    loss, locality = (statistics.mean(values) for values in zip(*effects, strict=True))
    harmful = [effect > LEAST for effect in (loss, locality)]
    if all(harmful) and max(loss, locality) < 2 * min(loss, locality):
        words = "both"
    elif any(harmful):
        words = "the loss" if loss > locality else "the locality"
    else:
        words = "neither"
    tasks = "1 task" if len(effects) == 1 else f"{len(effects)} tasks"
    return f"**{words}** (loss {loss:+.1f}, locality {locality:+.1f} points over {tasks})"
