"""Runs: trainings stored in folders, which can be evaluated, resumed, trained longer, and loaded as models.

A run folder contains ``config.json`` (the configuration, written first), ``history.jsonl`` (one line per epoch),
``checkpoint.pt``, ``text_encoder.pt`` for data sets of texts, and, after the training, ``summary.json`` and
``curves.png``. Runs are trained from the command line, or in Python with :class:`Run`.
"""

from forwardforward.runs.config import RunConfig, differences
from forwardforward.runs.run import Run, load

__all__ = ["Run", "RunConfig", "differences", "load"]
