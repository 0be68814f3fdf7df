"""Ensembles of trained runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from forwardforward._utils.annotations import describe
from forwardforward._utils.arguments import NonNegativeFloat, PositiveInt, StrPath, checked
from forwardforward._utils.checks import check_device
from forwardforward._utils.numerics import log_probabilities
from forwardforward.classifiers import fit_weights
from forwardforward.data.batching import Data
from forwardforward.network import Network
from forwardforward.runs.common import check_runs
from forwardforward.runs.records import read_history
from forwardforward.runs.run import Run
from forwardforward.runs.summary import training_facts
from forwardforward.targets import TargetKind
from forwardforward.targets.kind import measured

__all__ = ["Ensemble", "EnsembleEvaluation"]


@dataclass(frozen=True)
class EnsembleEvaluation:
    """Errors of an ensemble and of its runs, in percent.

    Attributes:
        error: Share of samples that the ensemble classifies incorrectly; for several labels per sample, the share of
            wrong labels.
        members: The same for each run by itself.
        samples: Number of samples.
        measured_on: ``"test"`` or ``"validation"``.
        metric: Name of the error, see :class:`~forwardforward.targets.TargetKind`.
        unit: Its unit.

    Example:
        >>> print(EnsembleEvaluation(2.5, (3.0, 2.75), samples=400))
        error 2.50 % (members 3.00, 2.75)
    """

    error: float
    members: tuple[float, ...]
    samples: int
    measured_on: str = "test"
    metric: str = "error"
    unit: str = "%"

    def __str__(self) -> str:
        """Return the errors in one line."""
        members = ", ".join(f"{error:.2f}" for error in self.members)
        return f"{measured(self.error, self.metric, self.unit)} (members {members})"


@checked
class Ensemble:
    r"""Trained runs on one data set, whose predictions are averaged.

    The runs may have any recipes: each has its own preprocessing and, for texts, its own text encoder. With the
    probabilities :math:`p_m(k \mid x)` that run :math:`m` predicts, the scores of the classes are

    .. math:: s_k(x) = \sum_m w_m \log p_m(k \mid x), \qquad w_m = 1 / M

    and their softmax is the normalized geometric mean of the probabilities. For several labels per sample, the log-odds
    of each label take the place of :math:`\log p_m`.

    Args:
        runs: The runs, or their folders.
        weights: The weight :math:`w_m` of each run; default: equal weights. See :meth:`fit_weights`.
        device: Device of the models.

    Attributes:
        runs: The runs.
        weights: Their weights.

    Raises:
        FileNotFoundError: If a folder contains no run.
        CheckpointError: If a run has no checkpoint yet.
        ValueError: If there is no run, one occurs twice, they have different data sets, class counts or
            kinds of targets, predict real values, or there is not one non-negative weight per run, one above 0.

    Source: products of experts with weights, as in Hinton, Training Products of Experts by Minimizing Contrastive
    Divergence (2002).

    Example:
        >>> import tempfile
        >>> from forwardforward.recipes import get
        >>> from forwardforward.runs import RunConfig
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("hinton", "mono"):
        ...         recipe = get(name).for_dataset("digits").replace(widths=(20, 20), epochs=1)
        ...         run = Run.create(f"{folder}/{name}", RunConfig.from_recipe(recipe, "digits"))
        ...         _ = run.fit(progress=False)
        ...     ensemble = Ensemble([f"{folder}/hinton", f"{folder}/mono"])
        ...     errors = ensemble.evaluate()
        ...     classes = ensemble.predict(torch.rand(3, 1, 8, 8))
        >>> len(errors.members), classes.shape
        (2, torch.Size([3]))
    """

    def __init__(
        self,
        runs: Sequence[Run | StrPath],
        *,
        weights: Sequence[NonNegativeFloat] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        check_device(device)
        self.runs = tuple(run if isinstance(run, Run) else Run.open(run) for run in runs)
        check_runs(self.runs)
        self.weights = tuple(weights) if weights is not None else (1 / len(self.runs),) * len(self.runs)
        if len(self.weights) != len(self.runs) or not any(self.weights):
            raise ValueError(
                f"weights must be one per run, {len(self.runs)}, one of them above 0, got {list(self.weights)}"
            )
        self._device = device
        self._loaded: dict[int, Network] = {}

    @checked
    def predict(self, inputs: Data | Sequence[str], batch_size: PositiveInt = 1000) -> Tensor:
        """Return the predicted class of each input, ``(samples,)``; of several labels whether each applies.

        Args:
            inputs: Raw inputs as for :meth:`Network.predict <forwardforward.network.Network.predict>`, which every run
                preprocesses by itself; texts for runs on texts.
            batch_size: Samples per batch.

        Raises:
            CheckpointError: If a run's checkpoint is corrupted.
            ValueError: If the inputs do not fit, or a score is NaN.
        """
        return self._kind.decide(self._scores(inputs, batch_size))

    @checked
    def predict_proba(self, inputs: Data | Sequence[str], batch_size: PositiveInt = 1000) -> Tensor:
        """Return the softmax of the scores, ``(samples, classes)``; of several labels the sigmoid of their log-odds.

        Args:
            inputs: As for :meth:`predict`.
            batch_size: Samples per batch.
        """
        return self._kind.probabilities(self._scores(inputs, batch_size))

    @checked
    def evaluate(
        self, validation: bool = False, data_dir: str | Path | None = None, batch_size: PositiveInt = 1000
    ) -> EnsembleEvaluation:
        """Evaluate the ensemble, and each of its runs, on the test set.

        Args:
            validation: Whether to use the validation split instead, which all runs must have held out.
            data_dir: Folder of the data set's files; default: that of each run's configuration.
            batch_size: Samples per batch.

        Raises:
            CheckpointError: If a run's checkpoint is corrupted.
            ValueError: If the data have changed since a run began, the runs' splits differ, or a run was trained on
                the validation split.
        """
        split = "validation" if validation else "test"
        scores, targets, members = self._measured(split, data_dir, batch_size)
        combined = self._combined(scores)
        return EnsembleEvaluation(
            error=self._error(combined, targets),
            members=tuple(members),
            samples=len(targets),
            measured_on=split,
            metric=self._kind.metric,
            unit=self._kind.unit,
        )

    @checked
    def fit_weights(self, data_dir: str | Path | None = None, batch_size: PositiveInt = 1000) -> Ensemble:
        """Fit the weights to the validation split by :func:`~forwardforward.classifiers.fit_weights`; return self.

        Use them for runs of the same recipes that are trained on all training samples: ``Ensemble(final,
        weights=ensemble.weights)``.

        Args:
            data_dir: As for :meth:`evaluate`.
            batch_size: Samples per batch.

        Raises:
            CheckpointError: As :meth:`evaluate`.
            ValueError: As :meth:`evaluate`, or if the samples have several labels.
        """
        if not self._kind.has_one_class:
            raise ValueError(f"runs must predict one class per sample to fit weights, got {self._kind!r}")
        scores, targets, _ = self._measured("validation", data_dir, batch_size)
        classes = targets.argmax(1) if targets.is_floating_point() else targets
        self.weights = tuple(fit_weights(torch.stack(scores, dim=1), classes).tolist())
        return self

    @checked
    def summary(self, evaluation: EnsembleEvaluation) -> dict[str, Any]:
        """Return the errors and what each run's training was, in a form that JSON can represent.

        Args:
            evaluation: The errors, as :meth:`evaluate` returns them.
        """
        is_test = evaluation.measured_on == "test"
        members = []
        for index, (run, error) in enumerate(zip(self.runs, evaluation.members, strict=True)):
            history = read_history(run.folder / "history.jsonl")
            facts = training_facts(run.config, run.recipe, self._model(index), history, run.holds_out)
            members.append(facts | _errors(error, is_test))
        figures = {name: value for name, value in asdict(evaluation).items() if name not in ("error", "members")}
        errors = _errors(evaluation.error, is_test)
        return {
            "data": self.runs[0].config.data,
            "members": members,
            "weights": list(self.weights),
            **figures,
            **errors,
            "torch": torch.__version__,
        }

    @property
    def _kind(self) -> TargetKind:
        return self.runs[0].recipe.target_kind

    def _model(self, index: int) -> Network:
        """Return the model of a run, which is loaded once."""
        if index not in self._loaded:
            self._loaded[index] = self.runs[index].load(self._device)
        return self._loaded[index]

    def _scores(self, inputs: Any, batch_size: int) -> Tensor:
        """Return the ensemble's scores of raw inputs."""
        reads_text = self.runs[0].reads_text
        is_text = isinstance(inputs, Sequence) and len(inputs) > 0 and all(isinstance(text, str) for text in inputs)
        if reads_text != is_text or isinstance(inputs, str):
            expected = "a list of texts" if reads_text else "raw inputs"
            raise TypeError(f"inputs must be {expected} for runs on {self._data_name}, got {describe(inputs)}")
        parts = []
        for index, run in enumerate(self.runs):
            model = self._model(index)
            encoded = run.text_encoder()(inputs) if reads_text else inputs
            batches = model.batches(encoded, batch_size).batches(None)
            parts.append(torch.cat([self._log_probabilities(model.scores(images)) for images, _ in batches]))
        return self._combined(parts)

    def _measured(
        self, split: str, data_dir: str | Path | None, batch_size: int
    ) -> tuple[list[Tensor], Tensor, list[float]]:
        """Return each run's log-probabilities of a split, the targets, and each run's error."""
        if split == "validation":
            for run in self.runs:
                if not run.holds_out:
                    raise ValueError(
                        "runs must have held out the validation split, as those of train --validation, got "
                        f"{run.folder}, which was trained on all training images"
                    )
        parts: list[Tensor] = []
        first, errors = None, []
        for index, run in enumerate(self.runs):
            model = self._model(index)
            scores, targets = map(
                torch.cat, zip(*self._scored(model, getattr(run.splits(data_dir), split), batch_size), strict=True)
            )
            first = targets if first is None else first
            if not torch.equal(targets, first):
                raise ValueError(
                    f"runs must have the same samples in the {split} split, got other targets in {run.folder} than in "
                    f"{self.runs[0].folder}"
                )
            errors.append(self._error(scores, targets))
            parts.append(self._log_probabilities(scores))
        assert first is not None
        return parts, first, errors

    def _scored(self, model: Network, data: Data, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield scores and targets of each batch."""
        for images, labels in model.batches(data, batch_size).batches(None):
            yield model.scores(images), model.check_targets(images, labels)

    def _log_probabilities(self, scores: Tensor) -> Tensor:
        """Return log-probabilities; of several labels the log-odds: the scores."""
        return log_probabilities(scores) if self._kind.has_one_class else scores

    def _combined(self, parts: Sequence[Tensor]) -> Tensor:
        weighted = [weight * part for weight, part in zip(self.weights, parts, strict=True)]
        return torch.stack(weighted).sum(0)

    def _error(self, scores: Tensor, targets: Tensor) -> float:
        wrong = self._kind.mistakes(self._kind.decide(scores), targets).sum()
        return self._kind.error(float(wrong), len(targets), scores.shape[1])

    @property
    def _data_name(self) -> str:
        return Path(self.runs[0].config.data).name

    def __repr__(self) -> str:
        """Return the constructor call."""
        return f"Ensemble({[str(run.folder) for run in self.runs]}, weights={list(self.weights)})"


def _errors(error: float, is_test: bool) -> dict[str, Any]:
    """Return an error by the names of summaries."""
    return {
        "measured_on": "test" if is_test else "validation",
        "test_error": error if is_test else None,
        "validation_error": None if is_test else error,
        "head_error": None,
    }
