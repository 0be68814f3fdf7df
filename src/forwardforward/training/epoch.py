"""The state of an epoch that is being trained, from which a checkpoint resumes it after any step."""

from __future__ import annotations

import operator
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from forwardforward._utils.annotations import describe
from forwardforward._utils.generators import global_state, set_global_state
from forwardforward._utils.plugins import calling
from forwardforward._utils.shards import whole
from forwardforward.data.augmentation import Augmentation, mixes_targets
from forwardforward.data.batching import Pair, Source
from forwardforward.layers import FFLayer
from forwardforward.losses import PairLoss
from forwardforward.network import Network
from forwardforward.objectives import PairObjective
from forwardforward.optimizers import LocalOptimizer
from forwardforward.training.meters import EpochMeter
from forwardforward.training.randomness import derive_generator, seed_global_generators


class EpochState:
    """What changes within an epoch, apart from model and optimizer.

    Every generator is derived from (seed, epoch, purpose), and none from earlier epochs: a run that resumes at an epoch
    has the same order, negatives, augmentation and dropout as one that was never interrupted.

    Args:
        seed: The run's seed.
        epoch: Number of epochs that the model was trained for before.
        device: Device of the training.

    Example:
        >>> EpochState(seed=0, epoch=0, device=torch.device("cpu")).steps
        0
    """

    def __init__(self, seed: int, epoch: int, device: torch.device) -> None:
        self.seed = seed
        self.epoch = epoch
        self.device = device
        self.steps = 0
        self.meter = EpochMeter()
        self.measured: set[str] = set()  # sets of groups whose gradient norms were measured
        self.weights: dict[str, Tensor] = {}  # a sample of each layer's weights before the first step
        self.negatives = derive_generator(seed, epoch, "negatives", device)
        self.augmentation = derive_generator(seed, epoch, "augmentation", device)
        self._seconds = 0.0
        self._start = time.perf_counter()
        self._saved_global_state: dict[str, Any] | None = None

    @property
    def seconds(self) -> float:
        """Seconds of the epoch, without the time between an interruption and the resumption."""
        return self._seconds + time.perf_counter() - self._start

    def batches(self, data: Source) -> Iterator[Pair]:
        """Iterate over the batches after those of the completed steps."""
        seed_global_generators(self.seed, self.epoch, "torch")  # dropout and the like
        order = derive_generator(self.seed, self.epoch, "order")
        return data.batches(order, self.steps, self._restore_global_state)

    def augmented(
        self, batch: Pair, augment: Callable[[Tensor, torch.Generator | None], Tensor], model: Network
    ) -> Pair:
        """Return one batch with augmented images.

        Args:
            batch: Raw images and targets.
            augment: The augmentation.
            model: The network, which states the kind of the targets.
        """
        return checked_augmentation(augment, batch, self.augmentation, model)

    def draws(self) -> dict[str, Any]:
        """Return the generators of a step, by the names of its arguments."""
        return {"generator": self.negatives}

    def record(self, model: Network, optimizer: LocalOptimizer) -> dict[str, Any]:
        """Return the figures of the epoch for the history.

        Args:
            model: The network.
            optimizer: Its local optimizers.
        """
        return figures_of_epoch(self.meter, model, optimizer)

    def _restore_global_state(self) -> None:
        if self._saved_global_state is not None:
            set_global_state(self._saved_global_state, self.device)

    def state_dict(self) -> dict[str, Any]:
        """Return the state after the last step, for a checkpoint."""
        return {
            "steps": self.steps,
            "seconds": self.seconds,
            "meter": self.meter.state_dict(),
            "measured": sorted(self.measured),
            "weights": self.weights,
            "negatives": self.negatives.get_state(),
            "augmentation": self.augmentation.get_state(),
            "global": global_state(self.device),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state of :meth:`state_dict`; one of another structure raises errors of many types.

        Args:
            state: The state.
        """
        self.steps = operator.index(state["steps"])
        if self.steps < 1:
            raise ValueError(f"unfinished.steps must be at least 1, got {self.steps}")
        self._seconds = float(state["seconds"])
        self.meter.load_state_dict(state["meter"])
        self.measured = set(state["measured"])
        self.weights = dict(state["weights"])
        self.negatives.set_state(state["negatives"].cpu())
        self.augmentation.set_state(state["augmentation"].cpu())
        self._saved_global_state = state["global"]
        set_global_state(state["global"], self.device)  # also to find faults; it is set again after the loader's draws


def checked_augmentation(
    augment: Callable[[Tensor, torch.Generator | None], Tensor],
    batch: Pair,
    generator: torch.Generator,
    model: Network,
) -> Pair:
    """Return a batch with the images of an augmentation, and with the targets that it mixes.

    Args:
        augment: The augmentation.
        batch: Raw images and targets.
        generator: Source of randomness.
        model: The network, which states the kind of the targets.

    Raises:
        TypeError: If the augmentation does not accept its arguments, or returns something else.
        ValueError: If it mixes targets that cannot be mixed.
    """
    images, targets = batch
    if isinstance(augment, Augmentation) and augment.mixes_targets:
        if targets is None:
            raise ValueError(f"augment must not mix targets for data without targets, got {augment}")
        assert model.num_classes is not None
        checked = model.target_kind.check(targets, len(images), model.num_classes, values=False)
        with calling("augment", augment, "mix(images, targets, generator) -> (images, targets)", names_parts=True):
            augmented, targets = augment.mix(images, model.target_kind.soften(checked, model.num_classes), generator)
    else:
        with calling("augment", augment, "(images, generator) -> images"):
            augmented = augment(images, generator)
    if not isinstance(augmented, Tensor) or augmented.shape != images.shape:
        raise TypeError(
            f"augment must return images of the same shape {tuple(images.shape)}, got {describe(augmented)}"
        )
    return augmented, targets


def check_mixing(augment: object, model: Network) -> None:
    """Refuse an augmentation that mixes targets which cannot be mixed, before the training.

    Args:
        augment: The augmentation, or None.
        model: The network.

    Raises:
        ValueError: If the targets cannot be mixed.
    """
    if mixes_targets(augment):
        example = model.target_kind.example(torch.zeros(2, model.num_classes or 2))
        model.target_kind.soften(example, model.num_classes or 2)


def figures_of_epoch(meter: EpochMeter, model: Network, optimizer: LocalOptimizer) -> dict[str, Any]:
    """Return the records of a network's layers and head.

    Args:
        meter: The means of the epoch.
        model: The network.
        optimizer: Its local optimizers.
    """
    rates = optimizer.learning_rates()
    layers = [meter.layer(index) for index in range(len(model))]
    for index, record in enumerate(layers):
        if record is not None:
            record["largest_weight"] = _largest_weight(model.layers[index])
            record["learning_rate"] = rates.get(str(index))
            record["thresholds"] = _thresholds(model.stack[index])
            record["scale"] = _scale(model.stack[index])
            record["chance"] = _chance(model.stack[index])
    head = meter.head()
    if head is not None:
        head["learning_rate"] = rates.get("head", rates.get("network"))
    return {"layers": layers, "head": head}


def _largest_weight(layer: nn.Module) -> float | None:
    sizes = [whole(p.detach()).abs().max() for p in layer.parameters() if p.numel()]
    return float(torch.stack(sizes).max()) if sizes else None


def _chance(layer: FFLayer) -> float | None:
    """Return the accuracy of a guess: of pairs a half, of classes one over their number; None for other objectives."""
    objective = layer.objective
    if objective is None or objective.uses_negatives:
        return None if objective is None else 0.5
    kind = objective.target_kind
    has_classes = objective.num_classes is not None and (kind is None or kind.has_one_class)
    return 1 / objective.num_classes if has_classes and objective.num_classes else None


def _thresholds(layer: nn.Module) -> list[float] | None:
    """Return the thresholds of a layer's pair loss for positive and negative samples, None if it has none."""
    thresholds = (part.thresholds for part in layer.modules() if isinstance(part, PairLoss))
    pair = next((pair for pair in thresholds if pair is not None), None)
    return (
        None
        if pair is None
        else [float(whole(value.detach()) if isinstance(value, Tensor) else value) for value in pair]
    )


def _scale(layer: nn.Module) -> float | None:
    """Return the scale of a layer's goodness, None if it has none."""
    return next((part.scale for part in layer.modules() if isinstance(part, PairObjective)), None)
