"""Layers: any block with a local objective.

A layer normalizes its input, runs its block and activation, and hands the activations to its objective. What
it passes on is not normalized: the next layer does that.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from forwardforward.batches import Batch
from forwardforward.labels import LabelledInput
from forwardforward.normalization import Affine, Identity, PeerNormalization
from forwardforward.objectives import LocalLoss, Objective, objective

__all__ = ["FFLayer", "FFLinear"]


class FFLayer(nn.Module):
    """A block with an objective of its own.

    Plug-ins that are left out are taken from the :class:`~forwardforward.FFSequential` that the layer is put
    into, each layer getting a copy of its own.

    Args:
        block: Any module from ``(rows, ...)`` to pre-activations, or to activations where ``activation`` is
            None.
        activation: Applied to the block's output. Peer normalization needs it apart from the block, since it
            acts on pre-activations.
        in_features: Number of input features (channels), for plug-ins that are shaped by it.
        features: Number of output features (channels), likewise.
        goodness: Scalar or per-class goodness of the activations.
        loss: What is minimised, given the goodness.
        objective: In place of ``goodness`` and ``loss``: a whole objective, such as a sum of several.
        normalization: Applied to the input.
        peer: Peer normalization of the positive samples, or None for none.
        optimizer: Options of the local optimizer that differ for this layer, such as ``{"lr": 0.01}``.

    Raises:
        ValueError: If ``objective`` is given beside ``goodness`` or ``loss``, or ``peer`` without
            ``activation``.
    """

    def __init__(
        self,
        block: nn.Module,
        *,
        activation: nn.Module | None = None,
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
        self.block = block
        self.activation = activation
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
        for plugin, size in ((self.normalization, self.in_features), (self.peer, self.features)):
            bind = getattr(plugin, "bind", None)
            if bind is not None and getattr(plugin, "features", None) is None:
                bind(size)

    def pre_activations(self, x: Tensor | LabelledInput) -> Tensor:
        """Return the block's output for plain rows or a labelled input."""
        if isinstance(x, LabelledInput):
            x = x.joined()
        if self.normalization is not None:
            x = self.normalization(x)
        z: Tensor = self.block(x)
        return z

    def forward(self, x: Tensor | LabelledInput) -> Tensor:
        """Return the activations ``(rows, ...)`` of plain rows or of a labelled input."""
        z = self.pre_activations(x)
        h: Tensor = z if self.activation is None else self.activation(z)
        return h

    def local_loss(self, x: Tensor | LabelledInput, batch: Batch) -> tuple[Tensor, LocalLoss]:
        """Return the activations and what the objective finds in them.

        Args:
            x: The layer's input, cut from the graph of the layers before where gradients are to stop.
            batch: What the rows are.
        """
        if self.objective is None:
            raise RuntimeError("the layer has no objective yet: put it into an FFSequential, or give it one")
        z = self.pre_activations(x)
        h = z if self.activation is None else self.activation(z)
        local: LocalLoss = self.objective(h, batch)
        if self.peer is not None:
            positives = len(z) // 2 if batch.paired else len(z)
            local = local._replace(loss=local.loss + self.peer(z[:positives], h.detach()[:positives]))
        return h, local

    def _check_peer(self) -> None:
        if self.peer is not None and self.activation is None:
            raise ValueError(
                "peer normalization acts on pre-activations, which this block does not show: "
                "pass FFLayer(block, activation=...) with the activation apart"
            )


class FFLinear(FFLayer):
    r"""A dense layer, ``activation(W normalize(x) + b)``, with a local objective.

    Inputs of more than two dimensions are flattened. A labelled input is never joined where the normalization
    is affine (all of ours but ``GroupNorm``): the product with the images is shared by all their labels,
    :math:`W [x, y] = W_x x + W_y y`.

    Args:
        in_features: Number of inputs, label code included.
        out_features: Number of units.
        activation: A ReLU unless given.
        bias: Whether there is a bias, which starts at 0; the weights start as :math:`N(0, 1/in\_features)`.
        **plugins: Those of :class:`FFLayer`.

    Raises:
        ValueError: If a size is not positive or, on forward, the input has another number of features.
    """

    block: nn.Linear

    def __init__(
        self,
        in_features: int,
        out_features: int,
        activation: nn.Module | None = None,
        bias: bool = True,
        **plugins: Any,
    ) -> None:
        for name, size in (("in_features", in_features), ("out_features", out_features)):
            if size < 1:
                raise ValueError(f"{name} must be at least 1, got {size}")
        super().__init__(
            nn.Linear(in_features, out_features, bias=bias),
            activation=nn.ReLU() if activation is None else activation,
            in_features=in_features,
            features=out_features,
            **plugins,
        )
        nn.init.normal_(self.block.weight, std=in_features**-0.5)
        if bias:
            nn.init.zeros_(self.block.bias)

    def pre_activations(self, x: Tensor | LabelledInput) -> Tensor:
        """Return ``W normalize(x) + b``, ``(rows, out_features)``."""
        shared = isinstance(x, LabelledInput)
        features = x.features if isinstance(x, LabelledInput) else x[0].numel()
        if features != self.block.in_features:
            raise ValueError(
                f"in_features must be the input's number of features, got {self.block.in_features} for "
                f"inputs of {features}" + (" (label code included)" if shared else "")
            )
        if isinstance(x, LabelledInput):
            affine = getattr(self.normalization, "affine", None)
            if affine is not None or self.normalization is None:
                return self.split_forward(x, Affine() if affine is None else affine(x))
            x = x.joined()
        return super().pre_activations(x.flatten(1))

    def split_forward(self, x: LabelledInput, affine: Affine) -> Tensor:
        """Return ``W affine([image, code]) + b`` with one product for all codes of an image.

        Args:
            x: Images and their codes.
            affine: The normalization, written as an affine map.

        Returns:
            ``(copies * batch, out_features)``.
        """
        weight, bias = self.block.weight, self.block.bias
        scaled = weight if affine.column_scale is None else weight * affine.column_scale
        width = x.images.shape[1]
        z = F.linear(x.images, scaled if width == x.features else scaled[:, :width])
        code = F.linear(x.codes.to(z.dtype), scaled[:, x.columns])
        if affine.column_shift is not None:
            code = code + F.linear(affine.column_shift.to(weight.dtype), weight)
        if affine.row_scale is None and bias is not None:
            code = code + bias.to(code.dtype)  # a row of the code's part is a row less to add to than one of the whole
        z = z + code
        if affine.row_scale is not None:
            row_scale = affine.row_scale.to(z.dtype)
            z = z * row_scale if bias is None else torch.addcmul(bias.to(z.dtype), row_scale, z)
        if affine.row_shift is not None:
            z = z + affine.row_shift.to(z.dtype) * weight.sum(1).to(z.dtype)
        return z.flatten(0, 1)
