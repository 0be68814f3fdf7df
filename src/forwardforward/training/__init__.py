"""Training: ``fit``, ``evaluate``, history, callbacks and checkpoints."""

from forwardforward.training.callbacks import (
    Callback,
    Checkpoint,
    CSVLog,
    EarlyStopping,
    FitState,
    GrowNetwork,
    JSONLog,
    StopOnNaN,
    TrainingDiverged,
)
from forwardforward.training.checkpoints import CheckpointError, load_checkpoint, load_weights, save_checkpoint
from forwardforward.training.compilation import CompiledStep
from forwardforward.training.evaluation import Evaluation, choose_layers, evaluate
from forwardforward.training.history import History
from forwardforward.training.loop import fit

__all__ = [
    "CSVLog",
    "Callback",
    "Checkpoint",
    "CheckpointError",
    "CompiledStep",
    "EarlyStopping",
    "Evaluation",
    "FitState",
    "GrowNetwork",
    "History",
    "JSONLog",
    "StopOnNaN",
    "TrainingDiverged",
    "choose_layers",
    "evaluate",
    "fit",
    "load_checkpoint",
    "load_weights",
    "save_checkpoint",
]
