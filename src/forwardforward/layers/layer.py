"""The layer: a block with an objective of its own, and the order of the operations in it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from forwardforward.batches import Batch
from forwardforward.labels import LabelledInput
from forwardforward.normalization import Identity, PeerNormalization
from forwardforward.objectives import LocalLoss, Objective, objective

__all__ = ["NORMALIZE_FIRST", "TRANSFORM_FIRST", "FFLayer"]

#: Hinton's order, and the Trifecta's: what passes on is not normalized, the next layer does that.
NORMALIZE_FIRST = ("normalize", "transform", "add", "activate", "pool")

#: The usual order of backpropagation's networks, and of the per-class ones.
TRANSFORM_FIRST = ("transform", "normalize", "add", "activate", "pool")


class FFLayer(nn.Module):
    """A block with an objective of its own.

    Plug-ins that are left out are taken from the :class:`~forwardforward.FFSequential` that the layer is put
    into, each layer getting a copy of its own.

    Args:
        block: Any module from ``(rows, ...)`` to pre-activations, or to activations where ``activation`` is
            None.
        activation: Applied to the block's output. Peer normalization needs it apart from the block, since it
            acts on pre-activations.
        pool: Applied to the activations, such as a max-pool; the objective reads what comes out.
        shortcut: Applied to the layer's input and added: a residual connection, see
            :class:`~forwardforward.layers.ParameterFreeShortcut`.
        order: The order of the operations, each once: ``"normalize"``, ``"transform"`` (the block), ``"add"`` (the
            shortcut), ``"activate"`` and ``"pool"``. Those that the layer has not are left out.
        in_features: Number of input features (channels), for plug-ins that are shaped by it.
        features: Number of output features (channels), likewise.
        goodness: Scalar or per-class goodness of the activations.
        loss: What is minimised, given the goodness.
        objective: In place of ``goodness`` and ``loss``: a whole objective, such as a sum of several.
        normalization: Applied to the input, or where ``order`` puts it.
        peer: Peer normalization of the positive samples, or None for none.
        optimizer: Options of the local optimizer that differ for this layer, such as ``{"lr": 0.01}``.

    Raises:
        ValueError: If ``objective`` is given beside ``goodness`` or ``loss``, ``peer`` without ``activation``, or
            ``order`` does not hold every operation once.
    """

    def __init__(
        self,
        block: nn.Module,
        *,
        activation: nn.Module | None = None,
        pool: nn.Module | None = None,
        shortcut: nn.Module | None = None,
        order: Sequence[str] = NORMALIZE_FIRST,
        in_features: int | None = None,
        features: int | None = None,
        goodness: Callable[[Tensor], Tensor] | None = None,
        loss: Callable[..., Tensor] | None = None,
        objective: Objective | None = None,
        normalization: nn.Module | None = None,
        peer: PeerNormalization | None = None,
        optimizer: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if objective is not None and (goodness is not None or loss is not None):
            raise ValueError("objective must not be given beside goodness or loss: it holds both")
        if sorted(order) != sorted(NORMALIZE_FIRST):
            raise ValueError(f"order must hold each of {', '.join(NORMALIZE_FIRST)} once, got {tuple(order)}")
        self.block = block
        self.activation = activation
        self.pool = pool
        self.shortcut = shortcut
        self.order = tuple(order)
        self.in_features = in_features
        self.features = features
        self.normalization = normalization
        self.peer = peer
        self.objective = objective
        self.optimizer_options = dict(optimizer or {})
        self._goodness = goodness
        self._loss = loss
        self._check_peer()

    def compose(
        self,
        index: int,
        *,
        goodness: Callable[[Tensor], Tensor] | None = None,
        loss: Callable[..., Tensor] | None = None,
        normalization: nn.Module | None = None,
        peer: PeerNormalization | None = None,
    ) -> None:
        """Fill in the plug-ins that this layer was not given, and shape them; called once by the stack.

        Args:
            index: The layer's place in the stack, from 0.
            goodness: The stack's default; so are the others.
            loss: See above.
            normalization: See above.
            peer: See above.

        Raises:
            ValueError: If the layer ends up without an objective, or plug-ins do not fit.
        """
        if self.objective is None:
            chosen = copy.deepcopy(goodness) if self._goodness is None else self._goodness
            wanted = copy.deepcopy(loss) if self._loss is None else self._loss
            if wanted is None:
                raise ValueError(f"layer {index} has no loss: pass loss= to the layer or to FFSequential")
            self.objective = objective(chosen, wanted)
            del self._goodness, self._loss  # the objective holds them now
        self.objective.bind(index, self.features)
        if self.normalization is None:
            self.normalization = Identity() if normalization is None else copy.deepcopy(normalization)
        if self.peer is None:
            self.peer = copy.deepcopy(peer)
        self._check_peer()
        normalized = self.in_features if self._before("normalize", "transform") else self.features
        for plugin, size in ((self.normalization, normalized), (self.peer, self.features)):
            bind = getattr(plugin, "bind", None)
            if bind is not None and getattr(plugin, "features", None) is None:
                bind(size)

    def pre_activations(self, x: Tensor | LabelledInput) -> Tensor:
        """Return what the activation is applied to, for plain rows or a labelled input."""
        return self._run(x, self.order[: self.order.index("activate")])

    def forward(self, x: Tensor | LabelledInput) -> Tensor:
        """Return the activations ``(rows, ...)`` of plain rows or of a labelled input."""
        return self._activations(self.pre_activations(x), x)[1]

    def local_loss(self, x: Tensor | LabelledInput, batch: Batch) -> tuple[Tensor, LocalLoss]:
        """Return the activations and what the objective finds in them.

        Args:
            x: The layer's input, cut from the graph of the layers before where gradients are to stop.
            batch: What the rows are.
        """
        if self.objective is None:
            raise RuntimeError("the layer has no objective yet: put it into an FFSequential, or give it one")
        z = self.pre_activations(x)
        activated, h = self._activations(z, x)
        local: LocalLoss = self.objective(h, batch)
        if self.peer is not None:
            positives = len(z) // 2 if batch.paired else len(z)
            local = local._replace(loss=local.loss + self.peer(z[:positives], activated.detach()[:positives]))
        return h, local

    def _activations(self, z: Tensor, x: Tensor | LabelledInput) -> tuple[Tensor, Tensor]:
        """Return the activations of pre-activations, and what the layer makes of them at its end."""
        activated: Tensor = z if self.activation is None else self.activation(z)
        return activated, self._run(activated, self.order[self.order.index("activate") + 1 :], x)

    def _run(
        self, x: Tensor | LabelledInput, operations: tuple[str, ...], start: Tensor | LabelledInput | None = None
    ) -> Tensor:
        """Apply operations one after the other; a shortcut begins at ``start``, the layer's own input."""
        start = x if start is None else start
        now, operations = self._join(x, operations) if isinstance(x, LabelledInput) else (x, operations)
        for operation in operations:
            if operation == "normalize" and self.normalization is not None:
                now = self.normalization(now)
            elif operation == "transform":
                now = self.block(now)
            elif operation == "add" and self.shortcut is not None:
                now = now + self.shortcut(start.joined() if isinstance(start, LabelledInput) else start)
            elif operation == "pool" and self.pool is not None:
                now = self.pool(now)
        return now

    def _join(self, x: LabelledInput, operations: tuple[str, ...]) -> tuple[Tensor, tuple[str, ...]]:
        """Return the joined input and the operations still to be applied; some layers do better, see `SharedInput`."""
        return x.joined(), operations

    def _before(self, first: str, second: str) -> bool:
        return self.order.index(first) < self.order.index(second)

    def _check_peer(self) -> None:
        if self.peer is not None and self.activation is None:
            raise ValueError(
                "peer normalization acts on pre-activations, which this block does not show: "
                "pass FFLayer(block, activation=...) with the activation apart"
            )
