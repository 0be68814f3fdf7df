"""The pure function of a whole step: from parameters, buffers and batch to gradients, new buffers and losses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from forwardforward._utils.modes import autocast_to
from forwardforward.batches import Batch, LabeledInput
from forwardforward.layers import FFLayer
from forwardforward.layers.chain import skip_tensors
from forwardforward.objectives import LocalLoss
from forwardforward.step.stack import Stack
from forwardforward.update_schedules import Group

__all__ = ["Gradients", "WholeFunction"]


class Gradients(NamedTuple):
    """The result of the whole step's function.

    Attributes:
        parameters: For each layer, the gradient by parameter.
        codebook: Gradient of the label codes, if they are learned.
        buffers: For each layer, the new value by buffer.
        losses: For each layer, its local loss.
        outputs: Outputs of the observed layers.

    Example:
        >>> Gradients({}, None, {}, {}, {}).parameters
        {}
    """

    parameters: dict[int, dict[str, Tensor]]
    codebook: Tensor | None
    buffers: dict[int, dict[str, Tensor]]
    losses: dict[int, LocalLoss]
    outputs: dict[int, Tensor]


#: The numbers of a local loss; torch 2.6 cannot compile a named tuple's `_fields` and `_asdict`.
FIGURES = ("loss", "positive", "negative", "accuracy")

#: A layer's function of gradients, its loss and its output.
_Pullback = tuple[Callable[..., Any] | None, Tensor, Tensor]


class WholeFunction:
    """The pure function of a whole step: from parameters, buffers and batch to gradients, new buffers and losses."""

    def __init__(
        self,
        stack: Stack,
        groups: Sequence[Group],
        has_negatives: bool,
        autocast: torch.dtype | None,
        learned_codebook: bool,
    ) -> None:
        self.layers = stack.layers
        self.observed = stack.observed
        self.has_negatives = has_negatives
        self.autocast = autocast
        self.learned_codebook = learned_codebook
        self.updated = sorted({layer for group in groups for layer in group.layers})
        self.relayed = {layer for group in groups for layer in group.layers[1:]}
        self.with_loss = {layer for group in groups for layer in group.objectives}
        self.stop = max([*self.updated, *stack.observed], default=-1) + 1
        self.groups = groups
        last_group = {layer: group for group in groups for layer in group.layers}
        #: By a group's last layer: the group, and the layers whose graphs no later group needs.
        self.ends = {
            group.layers[-1]: (group, [layer for layer in group.layers if last_group[layer] is group])
            for group in groups
        }
        # functional_call calls a module's forward, and a compiled function cannot create modules
        self.calls = [_LocalLossCall(layer) for layer in stack.layers]

    def trains(self, index: int, name: str) -> bool:
        """Return whether a step computes the gradient of a layer's parameter.

        Parameters of an objective whose loss does not count have no gradient, not a gradient of zero: an optimizer
        with weight decay would change them.
        """
        of_objective = name.startswith(("objective.", "peer."))
        return index in self.updated and (not of_objective or index in self.with_loss)

    def __call__(
        self,
        parameters: list[dict[str, Tensor]],
        constants: list[dict[str, Tensor]],
        buffers: list[dict[str, Tensor]],
        inputs: Tensor | LabeledInput,
        targets: Tensor | None,
    ) -> Gradients:
        batch = Batch(inputs, targets, self.has_negatives)
        skips = skip_tensors(self.layers)
        result = Gradients({}, None, {}, {}, {})
        pullbacks: dict[int, _Pullback] = {}
        codebook: Tensor | None = None
        x: Tensor | LabeledInput = inputs
        for index in range(self.stop):
            skip = skips.get(index)
            if index in self.updated:
                output, loss, figures, new_buffers, pullback = self._layer(
                    index, parameters[index], constants[index], buffers[index], x, skip, batch
                )
                pullbacks[index] = pullback, loss, output
                result.losses[index] = figures
                result.buffers[index] = new_buffers
            else:
                state = {**parameters[index], **constants[index], **buffers[index]}
                with autocast_to(self.autocast, x.device):
                    output, _ = torch.func.functional_call(self.calls[index], _prefixed(state), (x, None, skip))
            if index in self.ends:  # backward at once, so that graphs are freed
                group, finished = self.ends[index]
                of_codes = self._backward(group, pullbacks, result.parameters)
                if of_codes is not None:
                    codebook = of_codes if codebook is None else codebook + of_codes
                for layer in finished:
                    del pullbacks[layer]
            output = output.detach()
            skips.store(index, output)
            if index in self.observed:
                result.outputs[index] = output
            x = output
        return Gradients(result.parameters, codebook, result.buffers, result.losses, result.outputs)

    def _layer(
        self,
        index: int,
        parameters: dict[str, Tensor],
        constants: dict[str, Tensor],
        buffers: dict[str, Tensor],
        x: Tensor | LabeledInput,
        skip: Tensor | None,
        batch: Batch,
    ) -> tuple[Tensor, Tensor, LocalLoss, dict[str, Tensor], Callable[..., Any] | None]:
        """Run one layer, and return its output, loss, figures, new buffers and the function of its gradients."""
        call = self.calls[index]

        def function(trainable: dict[str, Tensor], *source: Tensor) -> tuple[tuple[Tensor, Tensor], Any]:
            # Buffers are arguments and results: a layer changes its buffers in place, which must be copies here.
            copies = {name: value.clone() for name, value in buffers.items()}
            value: Tensor | LabeledInput = x
            if source:
                value = x.replace_codebook(source[0]) if isinstance(x, LabeledInput) else source[0]
            state = _prefixed({**constants, **trainable, **copies})
            with autocast_to(self.autocast, value.device):
                output, local = torch.func.functional_call(call, state, (value, batch, skip))
            # read from the state, since a layer may also assign new tensors to its buffers
            new_buffers = {name: state[f"layer.{name}"].detach() for name in buffers}
            detached = local.detach()
            figures = {name: getattr(detached, name) for name in FIGURES if getattr(detached, name) is not None}
            return (local.loss, output), (figures, detached.parts, new_buffers)

        source: tuple[Tensor, ...] = ()
        if isinstance(x, LabeledInput):
            source = (x.codebook.detach(),) if self.learned_codebook else ()
        elif index in self.relayed:
            source = (x,)
        pullback: Callable[..., Any] | None = None
        values: Any
        if parameters or source:
            values = torch.func.vjp(function, parameters, *source, has_aux=True)
            (loss, output), pullback, (figures, parts, new_buffers) = values
        else:
            (loss, output), (figures, parts, new_buffers) = function(parameters)
        return output, loss, LocalLoss(**figures, parts=parts), new_buffers, pullback

    def _backward(
        self, group: Group, pullbacks: dict[int, _Pullback], gradients: dict[int, dict[str, Tensor]]
    ) -> Tensor | None:
        """Add the gradients of one group to ``gradients``, and return the gradient of the codes."""
        relay: Tensor | None = None
        codebook: Tensor | None = None
        for index in reversed(group.layers):
            pullback, loss, output = pullbacks[index]
            counts = index in group.objectives
            total = gradients.setdefault(index, {})
            if pullback is None or not (counts or relay is not None):
                relay = None
                continue
            of_loss = torch.ones_like(loss) if counts else torch.zeros_like(loss)
            of_output = torch.zeros_like(output) if relay is None else relay
            of_parameters, *of_source = pullback((of_loss, of_output))
            gradients[index] = {k: total[k] + v if k in total else v for k, v in of_parameters.items()}
            relay = None
            if of_source and index in self.relayed:
                relay = of_source[0] if index != group.layers[0] else None
            elif of_source:
                codebook = of_source[0]
        return codebook


class _LocalLossCall(nn.Module):
    """A layer's local loss as a module's ``forward``, for ``functional_call``."""

    def __init__(self, layer: FFLayer) -> None:
        super().__init__()
        self.layer = layer

    def forward(
        self, x: Tensor | LabeledInput, batch: Batch | None, skip: Tensor | None
    ) -> tuple[Tensor, LocalLoss | None]:
        if batch is None:
            return self.layer(x, skip=skip), None
        return self.layer.local_loss(x, batch, skip)


def _prefixed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a layer's state with the names that it has in :class:`_LocalLossCall`."""
    return {f"layer.{name}": value for name, value in state.items()}
