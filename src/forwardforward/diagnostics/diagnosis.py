"""The diagnosis of a training from its history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from forwardforward._utils.arguments import NonNegativeInt, NumClasses, PositiveInt, checked
from forwardforward.diagnostics.findings import Finding
from forwardforward.diagnostics.rules import RULES, unexplained
from forwardforward.diagnostics.symptoms import Symptoms
from forwardforward.training import Evaluation, History

__all__ = ["diagnose"]

#: Causes that a cause found before explains: a symptom of the first is no cause of its own.
EXPLAINED = {
    "divergence": ("threshold", "learning rate too high", "dead units", "label leak", "learning rate too low",
                   "stalled layer", "too few epochs", "unrelated labels"),
    "imbalanced classes": ("label leak", "too few epochs", "unrelated labels"),
    "threshold": ("learning rate too high", "dead units", "stalled layer", "learning rate too low", "too few epochs",
                  "unrelated labels"),
    "learning rate too high": ("dead units", "stalled layer", "too few epochs", "unrelated labels"),
    "dead units": ("learning rate too low", "stalled layer", "too few epochs", "unrelated labels"),
    "label leak": ("too few epochs", "unrelated labels", "stalled layer"),
    "learning rate too low": ("stalled layer", "too few epochs", "unrelated labels"),
    "stalled layer": ("unrelated labels",),
    "too few epochs": ("unrelated labels",),
}  # fmt: skip


@checked
def diagnose(
    history: History,
    *,
    evaluation: Evaluation | Mapping[str, Any] | None = None,
    class_counts: Sequence[NonNegativeInt] | None = None,
    num_classes: NumClasses | None = None,
    epochs: PositiveInt | None = None,
    failure: str | None = None,
) -> list[Finding]:
    """Return the probable causes of a bad result, the most basic first; an empty list if nothing stands out.

    A result that is bad without a known cause, or cannot be judged by the history, is the only finding, ``"not
    explained"``.

    The rules read the history only: no data and no weights. They are rules of thumb; ``benchmarks/doctor`` counts how
    often they name the cause of runs that were spoiled on purpose, and :doc:`/diagnosing` describes each of them.

    Args:
        history: As returned by :func:`~forwardforward.training.fit`, or read from a run's ``history.jsonl``.
        evaluation: The errors on held-out data after the training; default: those of the last epoch's validation.
        class_counts: Number of training samples of each class, to recognize imbalanced data.
        num_classes: Number of classes; default: the length of ``class_counts``, or that of the layers' objectives.
        epochs: Number of planned epochs; default: that of the history.
        failure: Message of the error that ended the training, such as that of a
            :class:`~forwardforward.training.TrainingDiverged`.

    Raises:
        ValueError: If the history is empty and there is no failure.

    Example:
        >>> import forwardforward as ff
        >>> layer = {"loss": 2.3, "accuracy": 0.1, "chance": 0.1, "weight_change": 1e-5, "learning_rate": 1e-7}
        >>> record = {"seconds": 1.0, "layers": [layer], "head": None, "validation": None}
        >>> history = ff.training.History([{"epoch": epoch, **record} for epoch in (1, 2, 3)])
        >>> [finding.cause for finding in diagnose(history)]
        ['learning rate too low']
    """
    if not len(history) and failure is None:
        raise ValueError("history must contain at least one epoch, got an empty one")
    figures = evaluation.to_dict() if isinstance(evaluation, Evaluation) else evaluation
    symptoms = Symptoms.of(history, figures, class_counts, num_classes, epochs, failure)
    findings = [finding for rule in RULES if (finding := rule(symptoms)) is not None]
    explained = {cause for finding in findings for cause in EXPLAINED.get(finding.cause, ())}
    named = [finding for finding in findings if finding.cause not in explained]
    return named or [finding for finding in [unexplained(symptoms)] if finding is not None]
