"""The members of replicas as one batched network: stacked tensors, and what is computed with them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from forwardforward._utils.modes import autocast_to, eval_mode
from forwardforward._utils.numerics import accumulator
from forwardforward.layers.embedding import IndexLayer
from forwardforward.objectives import LocalLoss
from forwardforward.replicas.blocks import MeanOfVectors
from forwardforward.replicas.functions import (
    Batched,
    Call,
    MemberGradients,
    MemberScores,
    figures_of,
    local_figures,
)
from forwardforward.replicas.members import differing_numbers
from forwardforward.replicas.sampling import Generators, stacked_samples, without_dropped
from forwardforward.sequential import FFSequential
from forwardforward.update_schedules import Group

__all__ = ["StackedMembers"]

#: Bytes of parameters that are computed together on a CPU; with more, the update waits for the memory.
CACHE = 2**24

#: Parts of a network whose tensors are stacked; the members share the preprocessing.
STACKED = ("layers.", "label_encoder.", "head.")


class StackedMembers:
    """Networks of one architecture whose tensors are stacked.

    Args:
        members: The networks; their own tensors become views of the stacked ones.

    Attributes:
        members: The networks.
        template: The network whose modules the batched functions use; its weights are nobody's.
        numbers: The numbers of losses that differ between members, by their place in the network.
        tensors: Parameters, buffers and those numbers ``(members, ...)``, by their names in the network.
        batched: The batched functions.
    """

    def __init__(self, members: Sequence[FFSequential]) -> None:
        self.members = members
        self.numbers = differing_numbers(members)
        self.template = _template(members[0], self.numbers)
        self.batched = Batched()
        self.tensors: dict[str, Tensor] = {}
        self.stack()

    def stack(self) -> None:
        """Stack the members' tensors, and make their own tensors views of the stacked ones."""
        members = self.members
        mode = members[0].training
        parameters, buffers = torch.func.stack_module_state([member.train(mode) for member in members])
        every = {**parameters, **buffers}
        stacked = {name: value.detach() for name, value in every.items() if name.startswith(STACKED)}
        for index, member in enumerate(members):
            tensors = {**dict(member.named_parameters()), **dict(member.named_buffers())}
            for name, value in stacked.items():
                tensors[name].data = value[index]
        dtype = accumulator(torch.empty((), dtype=members[0].dtype))
        for place, values in self.numbers.items():
            stacked[place] = torch.tensor(values, dtype=dtype, device=members[0].device)
        self.tensors = stacked

    def parts(self) -> list[slice]:
        """Return the members that are computed together; their parameters fit into the processor's cache."""
        count = len(self.members)
        size = sum(value.numel() * value.element_size() for value in self.tensors.values()) // count
        most = count if self.members[0].device.type != "cpu" else max(1, CACHE // max(1, size))
        largest = max(divisor for divisor in range(1, count + 1) if count % divisor == 0 and divisor <= most)
        return [slice(start, start + largest) for start in range(0, count, largest)]

    def gradients(
        self,
        images: Tensor,
        labels: Tensor | None,
        groups: Sequence[Group],
        generators: Generators,
        dropout: Generators,
        part: slice,
        autocast: torch.dtype | None = None,
        compile: bool = False,
    ) -> dict[str, Any]:
        """Return ``gradients`` and new ``buffers`` by name, and ``figures`` by layer, of some members.

        Args:
            images: Prepared images, ``(members, batch, ...)``.
            labels: Targets, ``(members, batch, ...)``; None if there are none.
            groups: The groups to update.
            generators: Each member's source of randomness for the negatives.
            dropout: Each member's source of randomness for the dropout of an embedding layer.
            part: The members.
            autocast: Compute precision; None for that of the weights.
            compile: Whether to compile.
        """
        batch, has_negatives = self.samples(images, labels, generators, part, autocast, compile)
        return self.gradients_of(batch, has_negatives, groups, dropout, part, autocast, compile)

    def gradients_of(
        self,
        batch: dict[str, Any],
        has_negatives: bool,
        groups: Sequence[Group],
        dropout: Generators,
        part: slice,
        autocast: torch.dtype | None = None,
        compile: bool = False,
    ) -> dict[str, Any]:
        """Return the same of stacked samples.

        Args:
            batch: The samples, as :meth:`samples` returns them.
            has_negatives: Whether they have negatives.
            groups: The groups to update.
            dropout: Each member's source of randomness for the dropout of an embedding layer.
            part: The members.
            autocast: Compute precision; None for that of the weights.
            compile: Whether to compile.
        """
        template = self.template
        function = MemberGradients(template, groups, has_negatives, autocast)
        updated = function.step_function.updated
        if 0 in updated and template.training:
            batch = without_dropped(self.members[part], batch, dropout)
        training = template.training
        with eval_mode(*(layer for index, layer in enumerate(template.stack) if index not in updated)):
            result: dict[str, Any] = self.batched(function, self._state(part), batch, training, compile)
        return result

    def set_buffers(self, buffers: Mapping[str, Tensor], part: slice) -> None:
        """Store new buffers of some members.

        Args:
            buffers: The buffers, ``(members, ...)``, by name.
            part: The members.
        """
        for name, value in buffers.items():
            if name not in self.numbers:
                self.tensors[name][part].copy_(value)

    def local_losses(self, images: Tensor, labels: Tensor, generators: Generators) -> list[LocalLoss]:
        """Return every layer's local loss in evaluation mode, with figures ``(members,)``.

        Args:
            images: Prepared images, ``(members, batch, ...)``.
            labels: Class indices, ``(members, batch)``.
            generators: Each member's source of randomness for the negatives.
        """
        return self.local_losses_of(*self.samples(images, labels, generators, slice(0, len(self.members))))

    def local_losses_of(self, batch: dict[str, Any], has_negatives: bool) -> list[LocalLoss]:
        """Return the same of stacked samples.

        Args:
            batch: The samples, as :meth:`samples` returns them.
            has_negatives: Whether they have negatives.
        """
        with eval_mode(self.template):
            by_layer = self._vmap(partial(local_figures, has_negatives=has_negatives), batch)
        return [figures_of(by_layer[str(index)]) for index in range(len(self.template))]

    def evaluate(self, function: Callable[..., Tensor], images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return a function of all members' networks in evaluation mode, in chunks, ``(members, batch, ...)``.

        Args:
            function: Function of a network, images and, if they are given, labels.
            images: Prepared images that all members read, ``(batch, ...)``.
            labels: Labels that all members read, ``(batch,)``.
        """
        template = self.template
        size = max(images[0].numel(), *(layer.largest_size for layer in template.stack))
        copies = template.label_encoder.num_classes if template.label_encoder is not None else 1
        rows = max(1, template.chunk_size // (size * copies * len(self.members)))
        tensors = [images] if labels is None else [images, labels]
        with eval_mode(template):
            chunks = zip(*(tensor.split(rows) for tensor in tensors), strict=True)
            return torch.cat([self._vmap(function, *chunk, shared=True) for chunk in chunks], dim=1)

    def _vmap(self, function: Callable[..., Any], *arguments: Any, shared: bool = False) -> Any:
        """Return a function of all members' networks, and of arguments that are stacked or shared."""
        network = Call(self.template)

        def computed(state: dict[str, Tensor], *arguments: Any) -> Any:
            return network.with_state(state, function, *arguments)

        in_dims = (0, *[None if shared else 0] * len(arguments))
        return torch.vmap(computed, in_dims)(self.tensors, *arguments)

    def _state(self, part: slice) -> dict[str, Tensor]:
        return {name: value[part] for name, value in self.tensors.items()}

    def samples(
        self,
        images: Tensor,
        labels: Tensor | None,
        generators: Generators,
        part: slice,
        autocast: torch.dtype | None = None,
        compile: bool = False,
    ) -> tuple[dict[str, Any], bool]:
        """Return the stacked samples of some members, and whether they have negatives; as for :meth:`gradients`."""
        batch: dict[str, Any] = {} if labels is None else {"labels": labels}
        features, scores = self._scores(images, generators, part, autocast, compile)
        if features is not None:
            batch["features"] = features
        with autocast_to(autocast, images.device):
            samples, has_negatives = stacked_samples(self.members[part], images, labels, scores, generators)
        return {**samples, **batch}, has_negatives

    def _scores(
        self, images: Tensor, generators: Generators, part: slice, autocast: torch.dtype | None, compile: bool
    ) -> tuple[Tensor | None, Tensor | None]:
        """Return the head's features under a label without information, and the scores that the negatives need."""
        template = self.template
        if template.label_encoder is None or (template.head is None and template.needed_scores is None):
            return None, None
        batch = {"images": images}
        labels = [template.scorer.head_labels(x, g) for x, g in zip(images, generators, strict=True)]
        if labels[0] is not None:
            batch["labels"] = torch.stack([label for label in labels if label is not None])
        function = MemberScores(template, template.needed_scores, autocast)
        with eval_mode(template), torch.no_grad():
            values: dict[str, Tensor] = self.batched(function, self._state(part), batch, False, compile)
        return values.get("features"), values.get("scores")


def _template(member: FFSequential, numbers: Mapping[str, Sequence[float]]) -> FFSequential:
    """Return a network whose modules the batched functions use."""
    template = copy.deepcopy(member)
    template.preprocessing = nn.Identity()  # type: ignore[assignment]  # inputs are preprocessed before
    first = template[0]
    if isinstance(first, IndexLayer):
        first.dropout = 0.0  # indices are left out before, by each member's own generator
        if isinstance(first.block, nn.EmbeddingBag):
            first.block = MeanOfVectors(first.block)
    for place, values in numbers.items():
        parent, _, name = place.rpartition(".")
        module = template.get_submodule(parent)
        delattr(module, name)
        module.register_buffer(name, torch.tensor(values[0]))  # a tensor by member, passed as the others are
    return template
