"""The layer: a block with its own objective, and the order of its operations."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from forwardforward._utils.arguments import NonNegativeInt, PositiveInt, checked
from forwardforward._utils.memory import check_memory
from forwardforward._utils.modes import eval_mode
from forwardforward.batches import Batch, LabeledInput
from forwardforward.layers.block import check_batch_first, run_block
from forwardforward.layers.defaults import Defaults
from forwardforward.layers.dry_run import PLUGINS, DryRun
from forwardforward.layers.skip import SkipConnection
from forwardforward.losses import BatchLoss
from forwardforward.normalization import Identity, PeerNormalization
from forwardforward.objectives import LocalLoss, Objective
from forwardforward.objectives.base import checked_local_loss, unique_name
from forwardforward.objectives.make import make_objective
from forwardforward.specs import example_inputs

__all__ = ["NORMALIZE_FIRST", "TRANSFORM_FIRST", "FFLayer", "LayerOutput"]

#: Hinton's order, and the Trifecta's: the output is not normalized, the next layer does that.
NORMALIZE_FIRST = ("normalize", "transform", "add", "activate", "pool", "goodness")

#: The usual order of networks trained by backpropagation.
TRANSFORM_FIRST = ("transform", "normalize", "add", "activate", "pool", "goodness")


class LayerOutput(NamedTuple):
    """The output of a layer, and its intermediate values.

    Attributes:
        pre_activation: Input of the activation; pooled, if pooling before the activation gives the same result.
        activation: Output of the activation.
        goodness_input: Input of the objective.
        output: Output of the layer.

    Example:
        >>> layer = FFLayer(nn.Linear(3, 2), activation=nn.ReLU())
        >>> layer.outputs(torch.ones(1, 3)).pre_activation.shape
        torch.Size([1, 2])
    """

    pre_activation: Tensor
    activation: Tensor
    goodness_input: Tensor
    output: Tensor


@checked
class FFLayer(nn.Module):
    """A block with its own objective.

    A layer is complete by itself: :meth:`local_loss` returns its output and its local loss. In an
    :class:`~forwardforward.FFSequential` it takes the plug-ins that it lacks from the network. Plug-ins are set up in a
    dry run on one sample: at construction if ``input_shape`` is given, else when the layer becomes part of a
    network with an input shape, else at the first batch. A layer with a skip connection is not set up at construction.
    Each layer has its own copies of plug-ins, so that one object serves several layers.

    Every real batch goes through ``layer(x)``, so forward hooks see it in training, prediction and evaluation.

    Args:
        block: Any module from ``(rows, ...)`` to pre-activations, or to activations if ``activation`` is None. Of a
            tuple or mapping as the block's output, as recurrent and attention modules return it, the first value is
            used.
        activation: Applied to the block's output. Peer normalization needs it separate from the block, since it acts on
            pre-activations.
        pool: Applied to the activations, such as a max-pool.
        residual: A :class:`~forwardforward.layers.Residual` around the block, or a
            :class:`~forwardforward.layers.SkipConnection` from an earlier layer.
        order: The order of the operations, each once: ``"normalize"``, ``"transform"`` (the block), ``"add"`` (the
            residual), ``"activate"``, ``"pool"``, and ``"goodness"``, the input of the objective. Operations that the
            layer lacks are skipped.
        goodness: Scalar or per-class goodness of the activations.
        loss: The loss that is minimized, given the goodness.
        objective: In place of ``goodness`` and ``loss``: an objective, such as a sum of several.
        normalization: Applied to the input, or at its place in ``order``; ``normalization.Identity()`` for none in a
            network that has one.
        peer: Peer normalization of the positive samples; False for none in a network that has one.
        input_shape: Shape of one input sample.
        optimizer_options: Options of the local optimizer for this layer, such as ``{"lr": 0.01}``.

    Raises:
        TypeError: If a plug-in is a class or of another kind.
        ValueError: If ``objective`` is given with ``goodness`` or ``loss``, ``peer`` without ``activation`` or with an
            activation that works in place, ``order`` does not contain every operation once with the goodness after the
            activation, or a recurrent or attention block does not have the batch as its first dimension.

    Example:
        >>> import forwardforward as ff
        >>> layer = FFLayer(
        ...     nn.Linear(64, 32),
        ...     activation=nn.ReLU(),
        ...     goodness=ff.goodness.LearnedProjection(10),
        ...     loss=ff.losses.CrossEntropy(),
        ...     input_shape=(64,),
        ... )
        >>> x, targets = torch.rand(5, 64), torch.arange(5)
        >>> output, local = layer.local_loss(x, ff.Batch(x, targets))
        >>> output.shape, local.loss.shape
        (torch.Size([5, 32]), torch.Size([]))
    """

    #: Size of the table of which the input consists of indices, such as words; None for floating-point inputs.
    num_embeddings: int | None = None

    #: Whether something of the layer has to be fitted to the training data before the first step.
    needs_fit: bool = False

    def __init__(
        self,
        block: nn.Module,
        *,
        activation: Callable[[Tensor], Tensor] | None = None,
        pool: Callable[[Tensor], Tensor] | None = None,
        residual: nn.Module | None = None,
        order: Sequence[str] = NORMALIZE_FIRST,
        goodness: Callable[[Tensor], Tensor] | None = None,
        loss: Callable[..., Tensor] | None = None,
        objective: Objective | None = None,
        normalization: Callable[[Tensor], Tensor] | None = None,
        peer: PeerNormalization | Literal[False] | None = None,
        input_shape: Sequence[PositiveInt] | None = None,
        optimizer_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if objective is not None and (goodness is not None or loss is not None):
            raise ValueError("objective must not be given with goodness or loss: it contains both")
        if sorted(order) != sorted(NORMALIZE_FIRST):
            raise ValueError(f"order must contain each of {', '.join(NORMALIZE_FIRST)} once, got {tuple(order)}")
        if list(order).index("goodness") < list(order).index("activate"):
            raise ValueError(f"order must have the goodness after the activation, got {tuple(order)}")
        check_batch_first(block)
        # A plug-in is set up for one layer: if layers shared it, all would use the last one's threshold or statistics.
        goodness, loss, objective, normalization, peer = copy.deepcopy((goodness, loss, objective, normalization, peer))
        self.block = block
        self.activation, self.pool, self.residual = copy.deepcopy((activation, pool, residual))
        self.order = tuple(order)
        self.normalization = normalization
        self.peer = peer or None
        self.objective = objective
        self.optimizer_options = dict(optimizer_options or {})
        self.input_shape = None if input_shape is None else tuple(input_shape)
        #: Whether a max-pool may be applied before a ReLU, which gives the same from a quarter of the map.
        self.pool_first = True
        #: Largest number of values per sample that any part of the layer computes; known after the setup.
        self.largest_size = 0
        self._refuses_peer = peer is False
        self._in_network = False
        self._is_set_up = False
        self._before_adoption: dict[str, Any] = {}
        #: Shape of one sample of the objective's input, and its dtype; known after the setup.
        self._goodness_input: tuple[tuple[int, ...], torch.dtype] | None = None
        self._check_peer()
        if loss is not None and (goodness is not None or isinstance(loss, BatchLoss)):
            self.objective = make_objective(goodness, loss)
            goodness = loss = None
        self._incomplete = Defaults(goodness, loss)  # until a network completes the objective
        # Only a network knows the shape of the earlier output that a skip connection reads.
        if self.input_shape is not None and not isinstance(residual, SkipConnection):
            self.setup(self.input_shape)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments: the block, and the plug-ins that the layer has now."""
        return {"block": self.block, "activation": self.activation, **self._plugins()}

    def _plugins(self) -> dict[str, Any]:
        """Return the constructor's arguments of all layers, for :meth:`get_config`."""
        return {
            "pool": self.pool,
            "residual": self.residual,
            "order": self.order,
            "goodness": self._incomplete.goodness,
            "loss": self._incomplete.loss,
            "objective": self.objective,
            "normalization": self.normalization,
            "peer": False if self._refuses_peer else self.peer,
            "input_shape": self.input_shape,
            "optimizer_options": self.optimizer_options,
        }

    # Setup

    def adopt(self, defaults: Defaults) -> None:
        """Take copies of the plug-ins that the layer lacks from a network.

        Args:
            defaults: The network's plug-ins.

        Raises:
            ValueError: If the layer ends up without an objective, plug-ins do not fit, or the layer is part of a
                network already.
        """
        self.claim()
        self._before_adoption = {
            "objective": self.objective,
            "_incomplete": self._incomplete,
            "normalization": self.normalization,
            "peer": self.peer,
        }
        try:
            self._take(defaults)
        except Exception:
            self.release()
            raise
        self._is_set_up = False

    def _take(self, defaults: Defaults) -> None:
        if self.objective is None:
            self.objective = defaults.objective_for(self._incomplete.goodness, self._incomplete.loss)
        self._incomplete = Defaults()
        if self.normalization is None:
            normalization = copy.deepcopy(defaults.normalization)
            self.normalization = Identity() if normalization is None else normalization
        if self.peer is None and not self._refuses_peer:
            self.peer = copy.deepcopy(defaults.peer)
        self._check_peer()

    def release(self) -> None:
        """Make the layer as it was before its adoption, after the construction of the network failed."""
        for name, value in self._before_adoption.items():
            setattr(self, name, value)
        self._in_network = False

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for copies, which are not part of a network; a copied network claims its layers again."""
        return {**self.__dict__, "_in_network": False}

    def claim(self) -> None:
        """Mark the layer as part of a network.

        Raises:
            ValueError: If it is part of a network already.
        """
        if self._in_network:
            raise ValueError("a layer can be part of one network only, got one that is part of a network already")
        self._in_network = True

    @property
    def is_set_up(self) -> bool:
        """Whether the shapes of all plug-ins are known."""
        return self._is_set_up

    @checked
    @torch.inference_mode(False)  # parameters made in inference mode could not be trained
    @torch.no_grad()
    def setup(
        self, shape: Sequence[PositiveInt], index: NonNegativeInt = 0, skip_shape: Sequence[PositiveInt] | None = None
    ) -> tuple[int, ...]:
        """Set up every plug-in in a dry run on one sample, and return the shape of one output sample.

        Args:
            shape: Shape of one input sample, with the label's features.
            index: The layer's index in its network.
            skip_shape: Shape of one sample of the earlier layer's output, if a skip connection reads it.

        Raises:
            ValueError: If the block or a plug-in does not accept the shape, or the goodness has another kind than its
                objective needs.
        """
        if not shape:
            raise ValueError("input_shape must have at least one dimension, got ()")
        check_memory("input_shape", *shape)
        weight = next((p for p in self.parameters() if not isinstance(p, nn.UninitializedParameter)), torch.zeros(()))
        sample = example_inputs(1, shape, self.num_embeddings, weight.dtype, weight.device)
        skip = None if skip_shape is None else sample.new_zeros(1, *skip_shape, dtype=weight.dtype)
        plugins = {"normalize": self.normalization, "activate": self.peer, "goodness": self.objective}
        dry_run = DryRun(index, sample, weight, plugins)
        record: dict[str, Tensor] = {}
        known = set(self.modules())
        with eval_mode(self), dry_run.recording_sizes(self.block), dry_run.naming_plugins():
            output = self._run(self.check_input(sample), skip, record, dry_run.before)
            dry_run.after(output)
            if self.objective is not None:
                goodness = self.objective.goodness_of(record["goodness_input"])
                if goodness is not None:
                    self.objective.check_goodness(goodness)
        for part in set(self.modules()) - known:  # made by a plug-in's setup, in evaluation mode
            part.training = self.training
        self.largest_size = max(dry_run.sizes)
        self._goodness_input = tuple(record["goodness_input"].shape[1:]), record["goodness_input"].dtype
        self.input_shape = tuple(shape)
        self._is_set_up = True
        return tuple(output.shape[1:])

    def try_objective(self, batch: Batch) -> None:
        """Try the objective of a layer that is set up on random activations, and refuse a part of another form by name.

        Args:
            batch: A small batch, of the network's input.

        Raises:
            TypeError: If the objective or a part of it is not callable in this way, or returns something else.
            ValueError: If it returns a loss that is not a scalar or has no gradient.
        """
        if self.objective is None or self._goodness_input is None:
            return
        shape, dtype = self._goodness_input
        if not dtype.is_floating_point:  # such as spikes, which have no gradient
            return
        activations = torch.rand(len(batch.inputs), *shape, device=batch.inputs.device, dtype=dtype)
        with eval_mode(self), torch.enable_grad():
            self.objective.try_on(activations.requires_grad_(), batch)

    # Computation

    def forward(
        self, x: Tensor | LabeledInput, skip: Tensor | None = None, record: dict[str, Tensor] | None = None
    ) -> Tensor:
        """Return the layer's output, ``(rows, ...)``.

        Args:
            x: Plain rows ``(rows, ...)`` or a labeled input.
            skip: Output of the earlier layer that a :class:`~forwardforward.layers.SkipConnection` reads.
            record: Filled with the intermediate values of :class:`LayerOutput`.
        """
        start = self.check_input(x)
        if not self._is_set_up:  # a layer used alone, at its first batch
            self.setup(x.shape[1:], skip_shape=None if skip is None else skip.shape[1:])
        return self._run(start, skip, {} if record is None else record)

    def outputs(self, x: Tensor | LabeledInput, skip: Tensor | None = None) -> LayerOutput:
        """Return the layer's output with its intermediate values.

        Args:
            x: Plain rows ``(rows, ...)`` or a labeled input.
            skip: Output of the earlier layer that a skip connection reads.
        """
        record: dict[str, Tensor] = {}
        output: Tensor = self(x, skip=skip, record=record)
        return LayerOutput(record["pre_activation"], record["activation"], record["goodness_input"], output)

    def output_and_goodness(self, x: Tensor | LabeledInput, skip: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Return the layer's output, and the goodness for classification: ``(rows,)``, ``(rows, classes)`` or None.

        Args:
            x: Plain rows ``(rows, ...)`` or a labeled input.
            skip: Output of the earlier layer that a skip connection reads.
        """
        values = self.outputs(x, skip)
        return values.output, None if self.objective is None else self.objective.goodness_of(values.goodness_input)

    def part_results(self, x: Tensor | LabeledInput, skip: Tensor | None = None) -> tuple[dict[str, Tensor], Tensor]:
        """Return what each part of the layer computes, by the name of its argument, and the output; for checks.

        What a layer computes as one with its input counts as the normalization.

        Args:
            x: Plain rows ``(rows, ...)`` or a labeled input.
            skip: Output of the earlier layer that a skip connection reads.
        """
        results: dict[str, Tensor] = {}
        record: dict[str, Tensor] = {}
        name = "normalization"

        def before(operation: str, value: Tensor) -> None:
            nonlocal name
            results[name] = value
            name = PLUGINS.get(operation, "block")

        output = self._run(self.check_input(x), skip, record, before)
        results[name] = output
        goodness = None if self.objective is None else self.objective.goodness_of(record["goodness_input"])
        return results if goodness is None else {**results, "goodness": goodness}, output

    def local_loss(
        self, x: Tensor | LabeledInput, batch: Batch, skip: Tensor | None = None
    ) -> tuple[Tensor, LocalLoss]:
        """Return the layer's output and its local loss.

        Args:
            x: The layer's input, detached from the layers before to stop gradients there.
            batch: The batch that the rows belong to: targets, and whether the second half of the rows are negatives.
            skip: Output of the earlier layer that a skip connection reads.

        Raises:
            TypeError: If the objective returns something else than a local loss.
            ValueError: If the layer has no objective, or the loss is not a scalar.
        """
        if self.objective is None:
            raise ValueError("the layer has no objective: pass goodness= and loss=, or objective=")
        values = self.outputs(x, skip)
        local = checked_local_loss(self.objective(values.goodness_input, batch), self.objective)
        if self.peer is not None:
            positives = len(values.output) // 2 if batch.has_negatives else len(values.output)
            term = self.peer(values.pre_activation[:positives], values.activation.detach()[:positives])
            parts = local.parts or {self.objective.term_name: local.loss}
            parts = {**parts, unique_name(type(self.peer).__name__, parts): term}
            # not _replace, which torch 2.6 cannot compile
            local = LocalLoss(local.loss + term, local.positive, local.negative, local.accuracy, parts)
        return values.output, local

    def extra_repr(self) -> str:
        """Return the order of the operations, if it is not the usual one."""
        return "" if self.order == NORMALIZE_FIRST else f"order={self.order}"

    def check_input(self, x: Tensor | LabeledInput) -> Tensor | LabeledInput:
        """Check the layer's input, and return it in the form that the block needs.

        Args:
            x: Plain rows or a labeled input.
        """
        return x

    def _run(
        self,
        start: Tensor | LabeledInput,
        skip: Tensor | None,
        record: dict[str, Tensor],
        prepare: Callable[[str, Tensor], None] | None = None,
    ) -> Tensor:
        """Apply the operations to a checked input; ``prepare`` is called before each of them in the dry run."""
        operations = self._operations()
        if isinstance(start, LabeledInput):
            value, operations = self._join(start, operations)
        elif prepare is None:
            value, operations = self._start(start, operations)
        else:
            value = start
        for operation in operations:
            if prepare is not None:
                prepare(operation, value)
            if operation == "normalize" and self.normalization is not None:
                value = self.normalization(value)
            elif operation == "transform":
                value = run_block(self.block, value)
            elif operation == "add" and self.residual is not None:
                value = self._add(value, start, skip)
            elif operation == "activate":
                record["pre_activation"] = value
                value = value if self.activation is None else self.activation(value)
                record["activation"] = value
            elif operation == "pool" and self.pool is not None:
                value = self.pool(value)
            elif operation == "goodness":
                record["goodness_input"] = value
        return value

    def _operations(self) -> tuple[str, ...]:
        """Return the operations in order, a max-pool before a ReLU if that gives the same result and gradient."""
        place = self.order.index("activate")
        swaps = self.order[place + 1] == "pool" and self.pool_first and self.peer is None
        if swaps and type(self.activation) is nn.ReLU and isinstance(self.pool, nn.MaxPool2d):
            return (*self.order[:place], "pool", "activate", *self.order[place + 2 :])
        return self.order

    def _add(self, value: Tensor, start: Tensor | LabeledInput, skip: Tensor | None) -> Tensor:
        """Return the value with its residual connection."""
        assert self.residual is not None
        earlier: Tensor | None = start.joined() if isinstance(start, LabeledInput) else start
        if isinstance(self.residual, SkipConnection):
            earlier = skip
        if earlier is None:
            raise ValueError("skip must be given for a layer with a SkipConnection as residual, got None")
        total: Tensor = self.residual(value, earlier)
        return total

    def _join(self, x: LabeledInput, operations: tuple[str, ...]) -> tuple[Tensor, tuple[str, ...]]:
        """Return the joined input and the remaining operations; `LinearBlockLayer` avoids it."""
        return x.joined(), operations

    def _start(self, x: Tensor, operations: tuple[str, ...]) -> tuple[Tensor, tuple[str, ...]]:
        """Return plain rows and the remaining operations; a layer may compute several operations as one."""
        return x, operations

    def _check_peer(self) -> None:
        if self.peer is None:
            return
        if self.activation is None:
            raise ValueError(
                "peer normalization acts on pre-activations, which this block does not show: "
                "pass FFLayer(block, activation=...) with the activation separate from the block"
            )
        parts = self.activation.modules() if isinstance(self.activation, nn.Module) else ()
        if any(getattr(part, "inplace", False) for part in parts):
            raise ValueError(
                f"peer normalization acts on pre-activations, which {self.activation} overwrites: use inplace=False"
            )
