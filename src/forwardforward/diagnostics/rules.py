"""Rules of the diagnosis: each maps the symptoms of a training to a finding, or to None.

The limits were chosen by the first list of spoiled runs in ``benchmarks/doctor/spoilings.py``.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from forwardforward.diagnostics.findings import UNEXPLAINED, Finding, epochs_of, listed, percent
from forwardforward.diagnostics.symptoms import LayerSymptoms, Symptoms, is_finite, relative_improvements

__all__ = ["RULES", "unexplained"]

#: A class of a larger share of the samples makes the error look small.
LARGEST_SHARE = 0.8
#: Thresholds in units of the goodness's scale, outside of which a layer hardly gets there.
THRESHOLDS = (0.02, 20.0)
#: Distance of both mean goodnesses from a threshold on the same side of it, relative to the threshold.
SAME_SIDE = 0.2
#: Relative change of the weights in an epoch, above which they keep little of what they were.
LARGE_CHANGE = 1.0
#: Relative change of the weights in a whole training, below which they are the initial ones.
SMALL_CHANGE = 0.02
#: Share of units that are the same for every sample.
DEAD = 0.8
#: Points of a percent by which the held-out error may exceed the one that the accuracy on pairs leads to expect.
LEAK = 30.0
#: Share of the remaining error that the last epochs still remove.
STILL_IMPROVING = 0.08


def divergence(run: Symptoms) -> Finding | None:
    """A loss or weight is no longer finite, or a weight has grown beyond all bounds."""
    remedy = "lower the learning rate (--set lr=...), or normalize the layers' inputs (--set normalization=RMSNorm)."
    if run.failure is not None:
        return Finding("divergence", (), f"the training ended with an error after {epochs_of(run.epochs)}: "
                       f"{run.failure.split(';')[0]}.", remedy)  # fmt: skip
    layers = [layer for layer in run.layers if not is_finite(layer)]
    if not layers:
        return None
    return Finding("divergence", _indices(layers), "a loss or a weight is not finite.", remedy)


def imbalanced_classes(run: Symptoms) -> Finding | None:
    """Most samples are of one class, or a class has none."""
    counts = run.class_counts
    if counts is None or not sum(counts):
        return None
    share, missing = max(counts) / sum(counts), [index for index, count in enumerate(counts) if count == 0]
    remedy = "check the labels, and train on as many samples of each class (sample the rare classes more often)."
    if share > LARGEST_SHARE and share > 1.6 / len(counts):
        always = "" if run.error is None else f"; the model's error of {run.error:.1f} % must be compared with it"
        text = (
            f"{100 * share:.1f} % of the {sum(counts)} training samples are of class {counts.index(max(counts))}, so "
            f"that always predicting it has an error of {100 * (1 - share):.1f} %{always}."
        )
        return Finding("imbalanced classes", (), text, remedy)
    if missing:
        text = f"{len(missing)} of {len(counts)} classes have no training sample: {listed(missing)}."
        return Finding("imbalanced classes", (), text, remedy)
    return None


def threshold(run: Symptoms) -> Finding | None:
    """The goodness stays on one side of the threshold, or the threshold is far from the goodness's scale."""
    layers, parts = [], []
    for layer in run.layers:
        if layer.thresholds is None or not layer.positive or not layer.skills or layer.skill >= 0.8:
            continue
        theta, positive, negative = max(layer.thresholds), layer.positive[-1], layer.negative[-1]
        units = theta / layer.scale if layer.scale else 1.0
        low, high = layer.thresholds[0], layer.thresholds[1]
        below = positive < low - SAME_SIDE * abs(low)
        above = negative > high + SAME_SIDE * abs(high)
        if THRESHOLDS[0] <= units <= THRESHOLDS[1] and not (layer.skill < 0.2 and (below or above)):
            continue
        layers.append(layer)
        place = "below" if max(positive, negative) < theta else "above" if min(positive, negative) > theta else "around"
        parts.append(
            f"layer {layer.index}: {theta:.4g}"
            + ("" if layer.scale is None else f", {units:.3g} times the scale of {layer.scale:.4g}")
            + f"; mean goodness {positive:.4g} of positive and {negative:.4g} of negative samples, {place} it"
            f" (accuracy {100 * layer.accuracy[-1]:.0f} %)"
        )
    if not layers:
        return None
    text = f"the threshold does not separate the samples ({'; '.join(parts)})."
    remedy = (
        "choose a threshold near the goodness of an untrained layer, such as --set \"loss=Threshold(theta='width')\"."
    )
    return Finding("threshold", _indices(layers), text, remedy)


def learning_rate_too_high(run: Symptoms) -> Finding | None:
    """The weights are replaced in an epoch rather than improved, and the layers do not learn."""
    if run.has_learned:
        return None
    layers = [
        layer
        for layer in run.judged
        if max(layer.change, default=0.0) >= LARGE_CHANGE
        and layer.skill < 0.8
        and (run.skill_of(layer.error) or 0.0) < 0.5  # the accuracy of an epoch is that of its middle
    ]
    if not layers:
        return None
    worst = max(layers, key=lambda layer: max(layer.change))
    epoch = worst.change.index(max(worst.change))
    dead = f" {100 * worst.dead[-1]:.0f} % of its units are dead since." if worst.dead and worst.dead[-1] > 0.5 else ""
    text = (
        f"the weights of {worst.name} changed by {percent(worst.change[epoch])} in epoch {epoch + 1} at the "
        f"learning rate {_at(worst.rate, epoch)}, which leaves nothing of what they were (10 % is usual in the first "
        f"epoch); it ends at an {worst.result()}, {worst.guess}.{dead}"
    )
    return Finding("learning rate too high", _indices(layers), text, "divide the learning rate by 10 (--set lr=...).")


def dead_units(run: Symptoms) -> Finding | None:
    """Units are the same for every sample, so that they carry no information and have no gradient."""
    layers = [layer for layer in run.layers if layer.dead and layer.dead[-1] >= DEAD]
    if not layers:
        return None
    first = layers[0]
    when = next(index for index, share in enumerate(first.dead) if share >= DEAD)
    gradient = f", its gradient norm is {first.gradient[-1]:.3g}" if first.gradient else ""
    text = (
        f"{100 * first.dead[-1]:.0f} % of the units of layer {first.index} have the same activation for all probed "
        f"samples since epoch {when + 1}{gradient}"
        + ("." if len(layers) == 1 else f"; likewise {_shares(layers[1:])}.")
    )
    remedy = (
        "lower the learning rate or the bias's initial value, or add peer normalization, which revives units "
        "(--set peer=PeerNormalization)."
    )
    return Finding("dead units", _indices(layers), text, remedy)


def label_leak(run: Symptoms) -> Finding | None:
    """The layers are perfect in training and fail on held-out data, from the first epochs on."""
    layers, parts = [], []
    for layer in run.judged:
        early = layer.skills[min(len(layer.skills) - 1, max(2, len(layer.skills) // 5))]
        if layer.error is None or not layer.accuracy or early < 0.75 or layer.skill < 0.85:
            continue
        if layer.uses_pairs:
            accuracy = layer.accuracy[-1] if layer.pair_accuracy is None else layer.pair_accuracy
            expected = 100 * (1 - accuracy ** max(1, (run.num_classes or 2) - 1))
        else:
            accuracy = layer.accuracy[-1]
            expected = 100 * (1 - accuracy)
        if layer.error - expected < LEAK:
            continue
        layers.append(layer)
        kind = "of the pairs are in order" if layer.uses_pairs else "of the training samples are right"
        parts.append(
            f"{layer.name}: {100 * accuracy:.1f} % {kind}, {layer.error:.1f} % of the held-out samples are "
            "classified wrongly"
        )
    if not layers:
        return None
    pairs = layers[0].uses_pairs
    text = f"the goodness is right too early and too often, and classifies badly ({'; '.join(parts)}): " + (
        "positive and negative samples differ in more than the label's fit to the image."
        if pairs
        else "the training inputs contain the label, which held-out inputs do not."
    )
    remedy = (
        "check that negative samples are made as positive ones are, with another label of the same form."
        if pairs
        else "look for a column or a part of the image that is determined by the label, and remove it."
    )
    return Finding("label leak", _indices(layers), text, remedy)


def learning_rate_too_low(run: Symptoms) -> Finding | None:
    """The weights are nearly the initial ones."""
    moving = [layer for layer in run.layers if layer.change]
    layers = [
        layer
        for layer in moving
        if sum(layer.change) < SMALL_CHANGE and not (layer.skills and layer.skill >= 0.5) and not _is_dead(layer)
    ]
    if not layers or len(layers) < len([layer for layer in moving if not _is_dead(layer)]) or run.epochs < 2:
        return None
    first = layers[0]
    text = (
        f"the weights of {first.name} changed by {percent(sum(first.change))} in {epochs_of(run.epochs)} at the "
        f"learning rate {_at(first.rate, 0)} (10 % is usual in the first epoch alone), and its loss went from "
        f"{first.loss[0]:.4g} to {first.loss[-1]:.4g}."
    )
    return Finding("learning rate too low", _indices(layers), text, "multiply the learning rate by 10 to 100.")


def stalled_layer(run: Symptoms) -> Finding | None:
    """A layer does not learn while others do, or has become worse."""
    best = max((layer.skill for layer in run.judged), default=0.0)
    layers, parts = [], []
    for number, layer in enumerate(run.judged):
        if len(run.judged) < 2 or best < 0.5 or _is_dead(layer):
            continue
        # The first layers of a deep network are worse than later ones without being at fault.
        earlier = max((other.skill for other in run.judged[:number]), default=0.0)
        behind = layer.skill < 0.05 or layer.skill < 0.4 * earlier
        worse = max(layer.skills) - layer.skill > 0.2
        if not behind and not worse:
            continue
        layers.append(layer)
        moved = f", its weights changed by {percent(sum(layer.change))} in all" if layer.change else ""
        rate = f" at the learning rate {_at(layer.rate, 0)}" if layer.rate else ""
        top = layer.skills.index(max(layer.skills))
        peak = f" after an {layer.result(top)} in epoch {top + 1}" if worse else ""
        parts.append(f"{layer.name} ends at an {layer.result()}{peak} ({layer.guess}){moved}{rate}")
    if not layers:
        return None
    leader = max(run.judged, key=lambda layer: layer.skill)
    text = f"{'; '.join(parts)}, while {leader.name} reaches an {leader.result()}."
    remedy = (
        "check the layer's learning rate (overrides), update schedule and width; leave the layer out if it does not "
        "improve on the one before it."
    )
    return Finding("stalled layer", _indices(layers), text, remedy)


def too_few_epochs(run: Symptoms) -> Finding | None:
    """The training ended while the error still fell."""
    if not run.layers or run.skill >= 0.9:
        return None
    if run.epochs <= 2:
        error = "" if run.error is None else f" with an error of {run.measured(run.error)}"
        text = f"the training ended after {epochs_of(run.epochs)}{error}, too early to tell what it would become."
    else:
        errors = run.errors or [statistics.mean(1 - skill for skill in epoch) for epoch in _by_epoch(run.judged)]
        if len(errors) < 2:
            return None
        last = relative_improvements(errors)[-max(1, len(errors) // 5) :]
        still = statistics.mean(last)
        if still < STILL_IMPROVING:
            return None
        unit = f"{run.unit} (validation)".strip() if run.errors else "of the way from perfect to chance (training)"
        values = (errors[-1 - len(last)], errors[-1])
        text = (
            f"the error still fell by {100 * still:.0f} % per epoch at the end, from {values[0]:.3g} to "
            f"{values[1]:.3g} {unit}, when the training ended after {epochs_of(run.epochs)}."
        )
    return Finding("too few epochs", (), text, "train longer: train --resume RUN --epochs N.")


def unrelated_labels(run: Symptoms) -> Finding | None:
    """The weights move as usual, and the labels of held-out data are still not predicted."""
    held_out = run.held_out_skill
    if held_out is None or held_out >= _expected(run) or run.epochs < 3 or not run.judged:
        return None
    if any(layer.change and sum(layer.change) < SMALL_CHANGE for layer in run.judged):
        return None
    best = max(run.judged, key=lambda layer: layer.skill)
    if not best.change and best.skill < 0.1:  # nothing speaks for it that anything was learned
        return None
    change = f"the weights changed by {percent(sum(best.change))} in all, " if best.change else ""
    flat = ""
    if len(run.errors) > 2:
        flat = f", {run.measured(min(run.errors))} at best,"
    if best.accuracy:
        training = f"accuracy in training went from {100 * best.accuracy[0]:.0f} to {100 * best.accuracy[-1]:.0f} %"
    else:
        training = f"loss in training went from {best.loss[0]:.4g} to {best.loss[-1]:.4g}"
    assert run.error is not None
    assert run.chance_error is not None
    text = (
        f"the layers learn what they are shown ({change}the {training} in {best.name}), but it does not carry over: "
        f"the held-out error is {run.measured(run.error)}{flat} with chance at {run.measured(run.chance_error)}."
    )
    remedy = "check that inputs and labels are in the same order and that the labels are right: look at a few samples."
    return Finding("unrelated labels", (), text, remedy)


def unexplained(run: Symptoms) -> Finding | None:
    """The result is bad for no cause that the history shows, or it is not known whether it is bad."""
    if not run.is_judged:
        text = "the history has neither an accuracy nor an error of which it is known what a guess would reach."
        remedy = "train with held-out data (train --validation, fit(validation=...)), by which every layer is measured."
        return Finding(UNEXPLAINED, (), text, remedy)
    if run.skill >= (0.1 if run.held_out_skill is None else _expected(run)):
        return None
    result = "the accuracy in training is that of a guess"
    if run.error is not None and run.chance_error is not None:
        result = f"the held-out error is {run.measured(run.error)}, that of a guess {run.measured(run.chance_error)}"
    remedy = "look at samples and their labels, and try a recipe and widths that are known to learn similar data."
    return Finding(UNEXPLAINED, (), f"{result}, and the history shows none of the known causes.", remedy)


#: In the order of the causes.
RULES: tuple[Callable[[Symptoms], Finding | None], ...] = (
    divergence,
    imbalanced_classes,
    threshold,
    learning_rate_too_high,
    dead_units,
    label_leak,
    learning_rate_too_low,
    stalled_layer,
    too_few_epochs,
    unrelated_labels,
)


def _expected(run: Symptoms) -> float:
    """Return the skill below which the result needs an explanation; real values may contain much noise."""
    return 0.5 if run.unit else 0.1


def _is_dead(layer: LayerSymptoms) -> bool:
    return bool(layer.dead) and layer.dead[-1] >= DEAD


def _by_epoch(layers: Sequence[LayerSymptoms]) -> list[tuple[float, ...]]:
    """Return the skills of all layers, by epoch; layers that were added later count from their first epoch."""
    length = min((len(layer.skills) for layer in layers), default=0)
    return list(zip(*(layer.skills[-length:] for layer in layers if length), strict=True))


def _indices(layers: Sequence[LayerSymptoms]) -> tuple[int, ...]:
    return tuple(layer.index for layer in layers if layer.index >= 0)


def _shares(layers: Sequence[LayerSymptoms]) -> str:
    return ", ".join(f"{100 * layer.dead[-1]:.0f} % of layer {layer.index}" for layer in layers)


def _at(values: Sequence[float], index: int) -> str:
    return f"{values[min(index, len(values) - 1)]:.3g}" if values else "unknown"
