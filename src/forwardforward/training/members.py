"""Epochs of replicas: one generator of each kind, one meter and one record per member."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from forwardforward.data.batching import Pair, Source, tensors_of
from forwardforward.data.pretexts import PretextData
from forwardforward.data.tensors import batch_slices
from forwardforward.network import Network
from forwardforward.optimizers import LocalOptimizer
from forwardforward.replicas import ReplicaOptimizer, Replicas
from forwardforward.step import StepResult, WholeStep
from forwardforward.training.epoch import EpochState, checked_augmentation, figures_of_epoch
from forwardforward.training.evaluation import Evaluation, ReplicaEvaluation, mean_record
from forwardforward.training.meters import EpochMeter
from forwardforward.training.randomness import derive_generator, seed_global_generators

__all__ = ["CompiledMembers", "MemberEpoch", "check_replicas", "new_epoch", "record_validation"]


def check_replicas(seed: int, data: Source) -> None:
    """Refuse arguments of ``fit`` that replicas do not take.

    Args:
        seed: The argument; replicas have their own.
        data: The training data.

    Raises:
        ValueError: If the seed is not the default, or the data are not tensors.
    """
    if seed:
        raise ValueError(f"seed must be left out for replicas, whose members have their own seeds, got {seed}")
    if tensors_of(data) is None:
        raise ValueError(
            "train must be tensors for replicas, such as TensorData, of which every member has its own order, got "
            "a data set or loader"
        )


def new_epoch(model: Network, seed: int, epoch: int, device: torch.device) -> EpochState:
    """Return the state of a new epoch.

    Args:
        model: The network.
        seed: The run's seed.
        epoch: Number of epochs that the model was trained for before.
        device: Device of the training.
    """
    if isinstance(model, Replicas):
        return MemberEpoch(model.seeds, epoch, device)
    return EpochState(seed, epoch, device)


class CompiledMembers:
    """Compiled training steps of replicas.

    Args:
        model: The replicas.
        batch_size: Number of samples of the batches to compile for. As in
            :class:`~forwardforward.training.CompiledStep`, a batch of another size is not compiled, so that which form
            a step takes depends on the step alone, and a resumed run takes the same forms.
        compile: Whether to compile the steps.
        cuda_graph: Whether to record the steps in CUDA graphs.
    """

    def __init__(self, model: Replicas, batch_size: int | None, compile: bool = True, cuda_graph: bool = False) -> None:
        self.model = model
        self.batch_size = batch_size
        self.whole_step = WholeStep(compile=compile, cuda_graph=cuda_graph)

    def __call__(self, batch: tuple[Tensor, Tensor | None], *arguments: Any, **options: Any) -> StepResult:
        """Run one step, with the arguments of :meth:`~forwardforward.replicas.Replicas.step`."""
        whole_step = self.whole_step if batch[0].shape[1] == self.batch_size else None
        return self.model.step(batch, *arguments, whole_step=whole_step, **options)


class MemberMeter(EpochMeter):
    """Means by member: each figure of a step is a tensor ``(members,)``.

    Args:
        members: Number of members.
    """

    def __init__(self, members: int) -> None:
        super().__init__()
        self.members = members

    def split(self) -> list[EpochMeter]:
        """Return one meter per member, with the means so far."""
        self._flush()
        totals = self._sums.items()
        return [EpochMeter({key: (total[i], count) for key, (total, count) in totals}) for i in range(self.members)]

    def means(self) -> dict[str, Any]:
        """Return the means of all figures by member, without a change of the state."""
        return {key: [value / count for value in total] for key, (total, count) in self._totals().items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state of :meth:`state_dict`."""
        self._steps = int(state["steps"])
        self._sums = {key: ([float(v) for v in total], int(count)) for key, (total, count) in state["sums"].items()}
        self._pending = {key: list(values.unbind()) for key, values in state["pending"].items()}

    def _totals(self) -> dict[str, Any]:
        totals: dict[str, Any] = dict(self._sums)
        for key, values in self._pending.items():
            total, count = totals.get(key, ([0.0] * self.members, 0))
            sums = torch.stack(values).double().sum(0).tolist()
            totals[key] = ([a + b for a, b in zip(total, sums, strict=True)], count + len(values))
        return totals


class MemberEpoch(EpochState):
    """What changes within an epoch of replicas; every member's generators are those of a training by itself.

    Args:
        seeds: The members' seeds.
        epoch: Number of epochs that the members were trained for before.
        device: Device of the training.
    """

    meter: MemberMeter

    def __init__(self, seeds: Sequence[int], epoch: int, device: torch.device) -> None:
        super().__init__(0, epoch, device)
        self.seeds = seeds
        self.meter = MemberMeter(len(seeds))
        self.generators = {
            purpose: [derive_generator(seed, epoch, purpose, device) for seed in seeds]
            for purpose in ("negatives", "augmentation", "torch")
        }

    def batches(self, data: Source) -> Iterator[Pair]:
        """Iterate over the stacked batches ``(members, batch, ...)`` after those of the completed steps."""
        tensors = tensors_of(data)
        assert tensors is not None
        assert data.batch_size is not None
        seed_global_generators(self.seed, self.epoch, "torch")  # for plug-ins that draw from the global generator
        count = len(tensors)
        generators = [derive_generator(seed, self.epoch, "order") for seed in self.seeds]
        if isinstance(tensors, PretextData):  # every member draws its own classes, not only its own order
            members = [tensors.batches(data.batch_size, generator, skip=self.steps) for generator in generators]
            self._restore_global_state()
            for batches in zip(*members, strict=True):
                stacked, classes = zip(*batches, strict=True)
                yield torch.stack(stacked), torch.stack(classes)
            return
        orders = torch.stack([torch.randperm(count, generator=generator, device="cpu") for generator in generators])
        orders = orders.to(tensors.inputs.device)
        self._restore_global_state()
        for part in batch_slices(count, data.batch_size)[self.steps :]:
            rows = orders[:, part]
            shape = (*rows.shape, *tensors.inputs.shape[1:])
            images = tensors.inputs.index_select(0, rows.flatten()).view(shape)
            yield images, None if tensors.targets is None else tensors.targets[rows]

    def augmented(
        self, batch: Pair, augment: Callable[[Tensor, torch.Generator | None], Tensor], model: Network
    ) -> Pair:
        """Return one batch with augmented images, each member's by its own generator."""
        images, targets = batch
        members = []
        for index, generator in enumerate(self.generators["augmentation"]):
            of_member = images[index], None if targets is None else targets[index]
            members.append(checked_augmentation(augment, of_member, generator, model))
        labels = [labels for _, labels in members if labels is not None]
        return torch.stack([augmented for augmented, _ in members]), torch.stack(labels) if labels else None

    def draws(self) -> dict[str, Any]:
        """Return the generators of a step, by the names of its arguments."""
        return {"generator": self.generators["negatives"], "dropout": self.generators["torch"]}

    def record(self, model: Network, optimizer: LocalOptimizer) -> dict[str, Any]:
        """Return the means over the members, and the members' figures as ``members``."""
        assert isinstance(model, Replicas)
        assert isinstance(optimizer, ReplicaOptimizer)
        members = [
            {**figures_of_epoch(meter, member, rates), "validation": None}
            for meter, member, rates in zip(self.meter.split(), model.members, optimizer.members, strict=True)
        ]
        means = mean_record([{"layers": record["layers"], "head": record["head"]} for record in members])
        return {"members": members, **means}  # first, so that a fault is reported by the member

    def state_dict(self) -> dict[str, Any]:
        """Return the state after the last step, for a checkpoint."""
        generators = {purpose: [g.get_state() for g in group] for purpose, group in self.generators.items()}
        return {**super().state_dict(), "generators": generators}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state of :meth:`state_dict`; one of another structure raises errors of many types.

        Args:
            state: The state.
        """
        super().load_state_dict(state)
        for purpose, group in self.generators.items():
            for generator, saved in zip(group, state["generators"][purpose], strict=True):
                generator.set_state(saved.cpu())


def record_validation(record: dict[str, Any], evaluation: Evaluation) -> None:
    """Add the figures of validation data to an epoch's record.

    Args:
        record: The record.
        evaluation: The figures.
    """
    record["validation"] = evaluation.to_dict()
    if isinstance(evaluation, ReplicaEvaluation):
        for member, figures in zip(record["members"], record["validation"].pop("members"), strict=True):
            member["validation"] = figures
