"""The layer: a block with an objective of its own, and the order of the operations in it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from torch import Tensor, nn

from forwardforward.batches import Batch, LabelledInput
from forwardforward.layers.local import LocallyConnected2d
from forwardforward.layers.shortcut import Skip
from forwardforward.normalization import Identity, PeerNormalization
from forwardforward.objectives import LocalLoss, Objective, objective

__all__ = ["NORMALIZE_FIRST", "TRANSFORM_FIRST", "FFLayer", "Pass"]

#: Hinton's order, and the Trifecta's: what passes on is not normalized, the next layer does that.
NORMALIZE_FIRST = ("normalize", "transform", "add", "activate", "pool", "goodness")

#: The usual order of backpropagation's networks.
TRANSFORM_FIRST = ("transform", "normalize", "add", "activate", "pool", "goodness")


class Pass(NamedTuple):
    """What a layer makes of its input.

    Attributes:
        pre_activations: What the activation was applied to; pooled, where that comes to the same.
        activated: What came of it.
        read: What the objective reads.
        out: What passes on.
    """

    pre_activations: Tensor
    activated: Tensor
    read: Tensor
    out: Tensor


def check_made(**plugins: object) -> None:
    """Refuse a class where an instance of it is meant.

    Raises:
        TypeError: If a plug-in is a class.
    """
    for name, plugin in plugins.items():
        if isinstance(plugin, type):
            raise TypeError(f"{name} must be an instance, such as {plugin.__name__}(...), got the class")


def block_widths(block: nn.Module) -> tuple[int | None, int | None, int | None]:
    """Return the features (channels) that a block takes and puts out, and how many dimensions of space those have.

    None where its first layer, and its last that does not keep their number, do not tell.
    """
    parts = list(block) if isinstance(block, nn.Sequential) else [block]
    first = parts[0] if parts else None
    last = next((one for one in reversed(parts) if not isinstance(one, KEEPS)), None)
    takes = getattr(first, "in_features", getattr(first, "in_channels", None)) if isinstance(first, TELLS) else None
    gives = getattr(last, "out_features", getattr(last, "out_channels", None)) if isinstance(last, TELLS) else None
    return takes, gives, next((space for kind, space in SPACE.items() if isinstance(last, kind)), None)


SPACE: dict[type[nn.Module], int] = {nn.Linear: 0, nn.Conv1d: 1, nn.Conv2d: 2, LocallyConnected2d: 2}
TELLS = tuple(SPACE)
KEEPS = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Softplus),
    *(nn.Tanh, nn.Sigmoid, nn.Hardtanh, nn.Hardswish, nn.Softsign, nn.Identity),
    *(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout),
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm, nn.InstanceNorm1d, nn.InstanceNorm2d),
    *(nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d),
)


class FFLayer(nn.Module):
    """A block with an objective of its own.

    Plug-ins that are left out are taken from the :class:`~forwardforward.FFSequential` that the layer is put
    into, each layer getting a copy of its own.

    Training and classification call :meth:`run`, so forward hooks on the layer itself run only where it is called as a
    module; hook its activation instead.

    Args:
        block: Any module from ``(rows, ...)`` to pre-activations, or to activations where ``activation`` is
            None.
        activation: Applied to the block's output. Peer normalization needs it apart from the block, since it
            acts on pre-activations.
        pool: Applied to the activations, such as a max-pool.
        shortcut: A residual connection, called with what has been computed so far and the layer's own input, such as
            :class:`~forwardforward.layers.Shortcut`.
        tap: A connection to a later layer, which is shown what this one passes on; see
            :class:`~forwardforward.layers.Skip`.
        order: The order of the operations, each once: ``"normalize"``, ``"transform"`` (the block), ``"add"`` (the
            shortcut), ``"activate"``, ``"pool"``, and ``"goodness"``, where the objective reads. Those that the layer
            lacks are skipped.
        in_features: Number of input features (channels), for plug-ins that are shaped by it; a linear or convolutional
            block tells it by itself, as does an ``nn.Sequential`` that begins with one.
        features: Number of output features (channels), likewise.
        goodness: Scalar or per-class goodness of the activations.
        loss: What is minimised, given the goodness.
        objective: In place of ``goodness`` and ``loss``: a whole objective, such as a sum of several.
        normalization: Applied to the input, or where ``order`` puts it; ``normalization.Identity()`` for none in a
            stack that has one.
        peer: Peer normalization of the positive samples; False for none in a stack that has one.
        optimizer: Options of the local optimizer that differ for this layer, such as ``{"lr": 0.01}``.

    Raises:
        ValueError: If ``objective`` is given beside ``goodness`` or ``loss``, ``peer`` without ``activation``, or
            ``order`` does not hold every operation once, with the goodness behind the activation, or ``peer`` with an
            activation that works in place.
    """

    #: How many dimensions the activations have behind rows and features: 0, 1 for sequences, 2 for maps, None unknown.
    space: int | None

    #: Whether the input is numbers of entries to look up, such as words, in place of floating activations.
    reads_entries: bool = False

    def __init__(
        self,
        block: nn.Module,
        *,
        activation: nn.Module | None = None,
        pool: nn.Module | None = None,
        shortcut: nn.Module | None = None,
        tap: Skip | None = None,
        order: Sequence[str] = NORMALIZE_FIRST,
        in_features: int | None = None,
        features: int | None = None,
        goodness: Callable[[Tensor], Tensor] | None = None,
        loss: Callable[..., Tensor] | None = None,
        objective: Objective | None = None,
        normalization: nn.Module | None = None,
        peer: PeerNormalization | Literal[False] | None = None,
        optimizer: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if objective is not None and (goodness is not None or loss is not None):
            raise ValueError("objective must not be given beside goodness or loss: it holds both")
        if sorted(order) != sorted(NORMALIZE_FIRST):
            raise ValueError(f"order must hold each of {', '.join(NORMALIZE_FIRST)} once, got {tuple(order)}")
        if list(order).index("goodness") < list(order).index("activate"):
            raise ValueError(f"order must have the goodness behind the activation, got {tuple(order)}")
        check_made(goodness=goodness, loss=loss, objective=objective, normalization=normalization, peer=peer)
        check_made(block=block, activation=activation, pool=pool, shortcut=shortcut, tap=tap)
        takes, gives, self.space = block_widths(block)
        self.block = block
        self.activation = activation
        self.pool = pool
        self.shortcut = shortcut
        self.tap = tap
        self.order = tuple(order)
        self.in_features = takes if in_features is None else in_features
        self.features = gives if features is None else features
        self._composed = False
        self.normalization = normalization
        self.peer = peer or None
        self._without_peer = peer is False
        self.objective = objective
        self.optimizer_options = dict(optimizer or {})
        self._goodness = goodness
        self._loss = loss
        self._check_peer()
        self._bind(strict=False)

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
            ValueError: If the layer ends up without an objective, plug-ins do not fit, or the layer is part of a stack
                already.
        """
        if self._composed:
            raise ValueError(f"layer {index} must be new to the stack, got one that is part of a stack already")
        self._composed = True
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
        if self.peer is None and not self._without_peer:
            self.peer = copy.deepcopy(peer)
        self._check_peer()
        self._bind(strict=True)

    def normalize_by(self, normalization: nn.Module) -> None:
        """Give the layer a normalization, shaped to its width where that is known."""
        self.normalization = normalization
        self._bind(strict=False)

    def pre_activations(self, x: Tensor | LabelledInput) -> Tensor:
        """Return what the activation is applied to, for plain rows or a labelled input."""
        return self._operate(self.order[: self.order.index("activate")], x, x)

    def run(self, x: Tensor | LabelledInput, *, pool_first: bool = True) -> Pass:
        """Return everything that the layer makes of plain rows or of a labelled input.

        Args:
            x: The layer's input.
            pool_first: Whether a max-pool may come before the ReLU, which gives the same from a quarter of the map.
        """
        z = self.pre_activations(x)
        goodness = self.order.index("goodness")
        between = self.order[self.order.index("activate") + 1 : goodness]
        if pool_first and between[:1] == ("pool",) and self._pools_first():
            z, between = self._operate(between[:1], z, x), between[1:]
        activated: Tensor = z if self.activation is None else self.activation(z)
        read = self._operate(between, activated, x)
        out = self._operate(self.order[goodness + 1 :], read, x)
        if self.tap is not None:
            self.tap.remember(out)
        return Pass(z, activated, read, out)

    def forward(self, x: Tensor | LabelledInput) -> Tensor:
        """Return the activations that pass on, ``(rows, ...)``, of plain rows or of a labelled input."""
        return self.run(x).out

    def goodness(self, x: Tensor | LabelledInput) -> tuple[Tensor, Tensor | None]:
        """Return the activations that pass on, and the goodness by which the layer classifies, if it has one."""
        found = self.run(x)
        return found.out, None if self.objective is None else self.objective.goodness_of(found.read)

    def local_loss(self, x: Tensor | LabelledInput, batch: Batch) -> tuple[Tensor, LocalLoss]:
        """Return the activations that pass on, and what the objective finds.

        Args:
            x: The layer's input, cut from the graph of the layers before where gradients are to stop.
            batch: What the rows are.
        """
        if self.objective is None:
            raise RuntimeError("the layer has no objective yet: put it into an FFSequential, or give it one")
        found = self.run(x)
        local: LocalLoss = self.objective(found.read, batch)
        if local.loss.dim():
            raise ValueError(
                f"loss must be one number per batch, such as a mean, got shape {tuple(local.loss.shape)} "
                f"in the layer of {self.block}"
            )
        if self.peer is not None:
            positives = len(found.out) // 2 if batch.paired else len(found.out)
            term = self.peer(found.pre_activations[:positives], found.activated.detach()[:positives])
            local = local._replace(loss=local.loss + term)
        return found.out, local

    def extra_repr(self) -> str:
        """Return the order of the operations, where it is not the usual one."""
        return "" if self.order == NORMALIZE_FIRST else f"order={self.order}"

    def _operate(self, operations: tuple[str, ...], x: Tensor | LabelledInput, start: Tensor | LabelledInput) -> Tensor:
        """Apply operations one after the other; a shortcut begins at ``start``, the layer's own input."""
        now, operations = self._join(x, operations) if isinstance(x, LabelledInput) else (x, operations)
        for operation in operations:
            if operation == "normalize" and self.normalization is not None:
                now = self.normalization(now)
            elif operation == "transform":
                now = self.block(now)
            elif operation == "add" and self.shortcut is not None:
                now = self.shortcut(now, start.joined() if isinstance(start, LabelledInput) else start)
            elif operation == "pool" and self.pool is not None:
                now = self.pool(now)
        return now

    def _pools_first(self) -> bool:
        """Whether pooling before activating gives the same result and gradient."""
        return type(self.activation) is nn.ReLU and isinstance(self.pool, nn.MaxPool2d) and self.peer is None

    def _join(self, x: LabelledInput, operations: tuple[str, ...]) -> tuple[Tensor, tuple[str, ...]]:
        """Return the joined input and the operations still to be applied; some layers do better, see `SharedInput`."""
        return x.joined(), operations

    def _bind(self, strict: bool) -> None:
        """Tell plug-ins that have not been told how many features they work on, those that are known unless strict."""
        ahead = self.order.index("normalize") < self.order.index("transform")
        normalized = self.in_features if ahead else self.features
        for plugin, size in ((self.normalization, normalized), (self.peer, self.features)):
            bind = getattr(plugin, "bind", None)
            if bind is not None and getattr(plugin, "features", None) is None and (strict or size is not None):
                bind(size)

    def _check_peer(self) -> None:
        if self.peer is None:
            return
        if self.activation is None:
            raise ValueError(
                "peer normalization acts on pre-activations, which this block does not show: "
                "pass FFLayer(block, activation=...) with the activation apart"
            )
        if any(getattr(one, "inplace", False) for one in self.activation.modules()):
            raise ValueError(
                f"peer normalization acts on pre-activations, which {self.activation} overwrites: use inplace=False"
            )
