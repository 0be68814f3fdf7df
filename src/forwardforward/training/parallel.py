"""How a training is distributed over processes; in the base class, it is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from forwardforward._utils.shards import is_sharded
from forwardforward.data.batching import Data, Pair, Source
from forwardforward.network import Network
from forwardforward.optimizers import LocalOptimizer
from forwardforward.step import StepResult
from forwardforward.training.evaluation import Evaluation, choose_layers, evaluate

__all__ = ["InterruptedElsewhere", "Parallel", "RankError"]


class RankError(ConnectionError):
    """Another process of a training ended, failed or did not answer.

    Attributes:
        reported: Whether the other process reports its own error.
        cause: Name of the class of that error; None if it is unknown.
    """

    def __init__(self, message: str, reported: bool, cause: str | None = None) -> None:
        super().__init__(message)
        self.reported = reported
        self.cause = cause


class InterruptedElsewhere(KeyboardInterrupt):
    """A signal to another process ended the training; that process shows a message."""


class Parallel:
    """How :func:`~forwardforward.fit` is distributed over processes; this base class is one process.

    Every process runs the same ``fit`` with the same arguments. See :class:`~forwardforward.distributed.DataParallel`
    and :class:`~forwardforward.distributed.Pipeline`.

    Attributes:
        is_main: Whether this process writes files and shows progress.
        reads_inputs: Whether this process computes the first layer.
        has_all_layers: Whether this process has all weights of all layers.
        device: Device of this process; None for the model's.
        description: The kind of distribution and the number of processes; None for one process.

    Example:
        >>> Parallel().is_main
        True
    """

    is_main: bool = True
    reads_inputs: bool = True
    has_all_layers: bool = True
    device: torch.device | None = None
    description: str | None = None

    def check(self, network: Network, settings: Mapping[str, Any], data: Source) -> None:
        """Check before the training that it can be distributed, and that all processes have the same arguments.

        Args:
            network: The network, set up.
            settings: Settings that must be equal in all processes.
            data: The training data.

        Raises:
            ValueError: If it cannot.
        """
        if any(map(is_sharded, network.parameters())):
            raise ValueError("model must have all weights: call collect(model) before it is trained again")

    def begin(self, network: Network, optimizer: LocalOptimizer, data: Source) -> None:
        """Distribute a network that is ready to train.

        Args:
            network: The network, with the weights of a checkpoint if the run resumes.
            optimizer: Its local optimizers.
            data: The training data.
        """

    def step(self, network: Network, step: Callable[..., StepResult]) -> Callable[..., StepResult]:
        """Return the function of a training step.

        Args:
            network: The network.
            step: The function of one process.
        """
        return step

    def layer_runner(self) -> Callable[[Network, Tensor], object] | None:
        """Return a function that runs the layers of this process once on raw images; None if it has all weights."""
        return None

    def ahead(self, batches: Iterator[Pair], count: int | None = None) -> Iterator[Pair]:
        """Iterate over the batches of an epoch, of which some may be read before they are trained on.

        Args:
            batches: The batches.
            count: Their number; None if it is unknown.
        """
        return batches

    def any_process(self, flag: bool) -> bool:
        """Return whether a flag is set in any process, with the same answer in all of them, which wait for each other.

        Args:
            flag: The flag of this process.
        """
        return flag

    def any_process_before(self, name: str, flag: bool) -> bool:
        """Return whether a flag was set in any process before the last step, with the same answer in all of them.

        Flags are sent with the next step, so that no process waits for them.

        Args:
            name: Name of the flag, ``"stop"`` or ``"checkpoint"``.
            flag: The flag of this process.
        """
        return flag

    def record(self, record: dict[str, Any]) -> dict[str, Any]:
        """Return the record of an epoch with the figures of all layers.

        It is the same in all processes, also its times, so that decisions by the history are.

        Args:
            record: The record of this process.
        """
        return record

    def epoch_state(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return the state of an unfinished epoch for a checkpoint, with the figures of all layers.

        Args:
            state: The state of this process.
        """
        return state

    def evaluate(self, network: Network, data: Data, choose: bool = False) -> Evaluation:
        """Return the errors of a network, in all processes.

        Args:
            network: The network.
            data: Labeled data.
            choose: Whether the classifier chooses its layers by these data first.
        """
        if choose:
            choose_layers(network, data)
        return evaluate(network, data)

    def states(self, network: Network, optimizer: LocalOptimizer) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the states of the network and of its optimizers for a checkpoint, complete in the main process.

        Args:
            network: The network.
            optimizer: Its local optimizers.
        """
        return network.state_dict(), optimizer.state_dict()
