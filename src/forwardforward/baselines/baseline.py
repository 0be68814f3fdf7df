"""The base of the baselines: the stack with one linear layer on top, the training step and classification."""

from __future__ import annotations

import copy
import math
from collections import deque
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from forwardforward._utils.checks import check_num_classes
from forwardforward._utils.modes import autocast_to, eval_mode
from forwardforward._utils.numerics import accumulator
from forwardforward.layers import FFLayer
from forwardforward.layers.chain import layer_outputs, setup_layers, skip_tensors
from forwardforward.network import Network
from forwardforward.objectives import LocalLoss
from forwardforward.optimizers import LocalOptimizer
from forwardforward.optimizers.local import check_optimizer
from forwardforward.preprocessing import Preprocessing
from forwardforward.step import StepResult, WholeStep, gradient_norm
from forwardforward.update_schedules import Groups

__all__ = ["Baseline"]

Product = nn.Linear | nn.Conv2d


class Baseline(Network):
    """The stack's blocks and activations with one linear layer on top, whose outputs are the logits.

    The gradients are autograd's of the cross-entropy; another rule overrides :meth:`gradients`. All kinds of training
    share :func:`~forwardforward.fit` and :func:`~forwardforward.evaluate`.

    Args:
        *layers: Layers as for :class:`~forwardforward.FFSequential`; their objectives, if any, are not used, nor are
            their ``optimizer_options``, since the network has one optimizer. Gradients flow along a
            :class:`~forwardforward.layers.SkipConnection`.
        num_classes: Number of classes.
        normalization: Normalization of the layers without their own; each gets a copy.
        preprocessing: Conversion of raw inputs; default: to floating point, without standardization. Indices, the
            inputs of embedding layers, cannot be standardized.
        input_shape: Shape of one raw input; default: taken from the first layer or the first batch.

    Raises:
        ValueError: If there are no layers, fewer than two classes, or ``preprocessing`` does not fit the first layer.

    Example:
        >>> import forwardforward as ff
        >>> Baseline(ff.FFLinear(8, 6), num_classes=3).predict(torch.zeros(2, 8)).shape
        torch.Size([2])
    """

    def __init__(
        self,
        *layers: nn.Module,
        num_classes: int,
        normalization: nn.Module | None = None,
        preprocessing: Preprocessing | None = None,
        input_shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__(preprocessing, check_num_classes(num_classes))
        if not layers:
            raise ValueError("layers must contain at least one layer, got none")
        self.layers = nn.ModuleList(layer if isinstance(layer, FFLayer) else FFLayer(layer) for layer in layers)
        for layer in self.stack:
            if layer.normalization is None:
                layer.normalization = copy.deepcopy(normalization)
        self.output: nn.Linear | None = None
        skip_tensors(self.stack)  # refuses a connection from before the first layer
        self._check_preprocessing()
        shape = self.stack[0].input_shape if input_shape is None else input_shape
        if shape is not None:
            self.setup(shape)

    @property
    def is_set_up(self) -> bool:
        """Whether the shapes of all parameters are known."""
        return self.output is not None

    def setup(self, input_shape: Sequence[int]) -> None:
        """Set up every layer in a dry run on one input of zeros, and create the output layer.

        Args:
            input_shape: Shape of one raw input.
        """
        super().setup(input_shape)
        if self.is_set_up:
            return
        shapes = [tuple(input_shape)]
        setup_layers(self.stack, shapes)
        assert self.num_classes is not None
        self.output = nn.Linear(math.prod(shapes[-1]), self.num_classes).to(self.device, self.dtype)

    def parameter_groups(self) -> Mapping[str, nn.Module]:
        """Return the whole network as one group."""
        return {"network": self}

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``(batch, classes)``.

        Args:
            images: Raw images, ``(batch, ...)``.
        """
        return self.logits(self.prepare(images))

    def logits(self, x: Tensor) -> Tensor:
        """Return logits ``(batch, classes)`` of preprocessed images."""
        [last] = deque(layer_outputs(self.stack, x, cut=False), maxlen=1)
        assert self.output is not None
        logits: Tensor = self.output(last.flatten(1))
        return logits

    def activations(self, images: Tensor, labels: Tensor | None = None) -> dict[int, Tensor]:
        """Return the output of every layer by its index.

        Args:
            images: Raw images, ``(batch, ...)``.
            labels: None, since a baseline has no labels in its input.
        """
        if labels is not None:
            raise ValueError("labels must be None for a network without labels in its input")
        return dict(enumerate(layer_outputs(self.stack, self.prepare(images), cut=False)))

    def gradients(self, images: Tensor, labels: Tensor, autocast: torch.dtype | None = None) -> Tensor:
        """Add the update direction to every parameter's ``grad``, and return the logits without their graph.

        Args:
            images: Preprocessed images, ``(batch, ...)``.
            labels: Class indices, ``(batch,)``.
            autocast: Compute precision.
        """
        with autocast_to(autocast, images.device):
            logits = self.logits(images)
        cross_entropy(logits, labels).backward()
        return logits.detach()

    def step(
        self,
        batch: tuple[Tensor, Tensor | None],
        optimizer: LocalOptimizer,
        *,
        groups: Groups | None = None,
        generator: torch.Generator | None = None,
        autocast: torch.dtype | None = None,
        monitor: bool = False,
        whole_step: WholeStep | None = None,
    ) -> StepResult:
        """Update the network once; arguments as for :meth:`FFSequential.step`, of which ``groups`` has no effect."""
        check_optimizer(optimizer)
        with torch.inference_mode(False), torch.enable_grad():
            images, labels = batch
            images = self.prepare(images).detach()
            if labels is None:
                raise ValueError("labels must be given for cross-entropy, got None")
            labels = self.check_labels(images, labels)
            optimizer.attach(self)
            optimizer.zero_grad()
            logits = self.gradients(images, labels, autocast)
            norms = {i: gradient_norm(layer) for i, layer in enumerate(self.layers)} if monitor else {}
            optimizer.step()
        accuracy = (logits.argmax(1) == labels).float().mean()
        return StepResult(head=LocalLoss(cross_entropy(logits, labels), accuracy=accuracy), gradient_norms=norms)

    @torch.no_grad()
    def scores(self, images: Tensor) -> Tensor:
        """Return the logits in evaluation mode, ``(batch, classes)``.

        Args:
            images: Raw images, ``(batch, ...)``.
        """
        x = self.prepare(images)
        with eval_mode(self):
            return self.logits(x)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy of logits ``(batch, classes)``."""
    return nn.functional.cross_entropy(logits.to(accumulator(logits)), labels)


def products(layer: nn.Module, index: int, rule: str) -> list[Product]:
    """Return the dense and convolutional maps among a layer's parts, in order.

    Args:
        layer: The layer, without its objective and peer normalization, which a baseline does not use.
        index: Its index in the network, for the message.
        rule: Name of the learning rule, for the message.

    Raises:
        ValueError: If the layer has weights of another kind, for which the rule is not defined.
    """
    parts: list[nn.Module | None] = [layer]
    if isinstance(layer, FFLayer):
        parts = [layer.normalization, layer.block, layer.activation, layer.pool, layer.residual]
    maps: list[Product] = []
    for module in (module for part in parts if part is not None for module in part.modules()):
        if type(module) in (nn.Linear, nn.Conv2d):
            maps.append(module)  # type: ignore[arg-type]
        elif not isinstance(module, nn.LayerNorm) and any(p.dim() > 1 for p in module.parameters(recurse=False)):
            raise ValueError(
                f"layers must have their weights in nn.Linear and nn.Conv2d for {rule}, "
                f"but layer {index} has {type(module).__name__}"
            )
    return maps
