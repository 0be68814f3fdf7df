"""Runs: trainings stored in folders, which can be evaluated, resumed, trained longer, averaged, and loaded as models.

A run folder contains ``config.json`` (the configuration, written first), ``history.jsonl`` (one line per epoch),
``checkpoint.pt``, ``text_encoder.pt`` for data sets of texts, and, after the training, ``summary.json`` and
``curves.png``. Runs are trained from the command line, or in Python with :class:`Run`.
"""

from forwardforward.runs.config import RunConfig, differences
from forwardforward.runs.ensemble import Ensemble, EnsembleEvaluation
from forwardforward.runs.run import Run, load

__all__ = ["Ensemble", "EnsembleEvaluation", "Run", "RunConfig", "differences", "load"]
