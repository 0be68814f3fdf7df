"""Training: ``fit``, ``evaluate``, history, callbacks and checkpoints."""

from forwardforward.training.allocation import reuse_freed_memory
from forwardforward.training.averaging import WeightAverage
from forwardforward.training.callbacks import Callback, EarlyStopping, FitState, GrowNetwork
from forwardforward.training.checkpoints import CheckpointError, load_checkpoint, load_weights, save_checkpoint
from forwardforward.training.compilation import CompiledStep
from forwardforward.training.divergence import StopOnDivergence, TrainingDiverged
from forwardforward.training.epoch import EpochState
from forwardforward.training.evaluation import Evaluation, ReplicaEvaluation, choose_layers, evaluate
from forwardforward.training.history import History
from forwardforward.training.logs import CSVLog, JSONLog
from forwardforward.training.loop import fit
from forwardforward.training.parallel import Parallel, RankError
from forwardforward.training.resuming import Checkpoint
from forwardforward.training.signals import Interrupted, StopOnSignal, stop_on_signals
from forwardforward.training.trackers import TensorBoardLog, Tracker, WandbLog

__all__ = [
    "CSVLog",
    "Callback",
    "Checkpoint",
    "CheckpointError",
    "CompiledStep",
    "EarlyStopping",
    "EpochState",
    "Evaluation",
    "FitState",
    "GrowNetwork",
    "History",
    "Interrupted",
    "JSONLog",
    "Parallel",
    "RankError",
    "ReplicaEvaluation",
    "StopOnDivergence",
    "StopOnSignal",
    "TensorBoardLog",
    "Tracker",
    "TrainingDiverged",
    "WandbLog",
    "WeightAverage",
    "choose_layers",
    "evaluate",
    "fit",
    "load_checkpoint",
    "load_weights",
    "reuse_freed_memory",
    "save_checkpoint",
    "stop_on_signals",
]
