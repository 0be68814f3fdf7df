"""Base class of the baselines: layers with a linear output layer, their training step and classification."""

from __future__ import annotations

import copy
import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from forwardforward._utils.annotations import describe
from forwardforward._utils.arguments import PositiveInt, checked
from forwardforward._utils.checks import check_finite
from forwardforward._utils.convolution import Conv2d
from forwardforward._utils.memory import check_memory
from forwardforward._utils.modes import autocast_to, eval_mode
from forwardforward.layers import FFLayer
from forwardforward.layers.chain import layer_outputs, naming_layer, setup_layers, skip_tensors
from forwardforward.losses import ClassLoss, CrossEntropy
from forwardforward.network import Network
from forwardforward.objectives import LocalLoss
from forwardforward.optimizers import LocalOptimizer
from forwardforward.optimizers.local import check_optimizer
from forwardforward.preprocessing import Array, Preprocessing
from forwardforward.specs import Plugin
from forwardforward.step import StepResult, WholeStep, gradient_norm
from forwardforward.step.arguments import check_step
from forwardforward.targets import RealValues
from forwardforward.update_schedules import Groups
from forwardforward.views import Views

__all__ = ["Baseline"]

LinearModule = nn.Linear | nn.Conv2d


@checked
class Baseline(Plugin, Network):
    """Base class of the baselines: the layers' blocks and activations, and a linear output layer that returns logits.

    By default, gradients are those of the loss, computed by autograd; a subclass with another learning rule
    overrides :meth:`gradients`. Baselines are trained by :func:`~forwardforward.fit` and evaluated by
    :func:`~forwardforward.evaluate`, like every network.

    Args:
        *layers: Layers as for :class:`~forwardforward.FFSequential`. Each becomes part of this network and cannot be
            used in another one. Their objectives and ``optimizer_options`` are ignored: the network has one loss and
            one optimizer. Gradients flow through :class:`~forwardforward.layers.SkipConnection`.
        num_classes: Number of outputs: classes, labels, bins, or values, of which there may be one.
        loss: The loss of the outputs, which states the kind of the targets; default: the cross-entropy.
        normalization: Normalization of layers without their own; every layer gets a copy.
        preprocessing: Conversion of raw inputs; default: to floating point, without standardization. Indices, the
            inputs of embedding layers, cannot be standardized.
        input_shape: Shape of one raw input; default: taken from the first layer or the first batch.
        views: Views of an image whose logits are averaged in classification, see :mod:`forwardforward.views`; default:
            the image alone.

    Raises:
        ValueError: If there are no layers, a layer is part of a network already, ``num_classes`` is too small, or
            ``preprocessing`` does not fit the first layer.

    Example:
        >>> import forwardforward as ff
        >>> Baseline(ff.FFLinear(8, 6), num_classes=3).predict(torch.zeros(2, 8)).shape
        torch.Size([2])
    """

    #: Whether the network learns from a loss that the user chooses.
    takes_loss: ClassVar[bool] = True

    def __init__(
        self,
        *layers: nn.Module,
        num_classes: PositiveInt,
        normalization: nn.Module | None = None,
        preprocessing: Preprocessing | None = None,
        input_shape: Sequence[PositiveInt] | None = None,
        loss: ClassLoss | None = None,
        views: Views | None = None,
    ) -> None:
        if loss is not None and not self.takes_loss:
            raise ValueError(
                f"loss must be None for {type(self).__name__}, whose error is that of the softmax, got {describe(loss)}"
            )
        loss = CrossEntropy() if loss is None else loss
        if num_classes < 2 and loss.target_kind != RealValues():
            raise ValueError(f"num_classes must be at least 2, got {num_classes}")
        super().__init__(preprocessing, num_classes, views)
        self.loss = copy.deepcopy(loss)
        self._set_target_kind(loss.target_kind)
        if not layers:
            raise ValueError("layers must contain at least one layer, got none")
        self.layers = nn.ModuleList(layer if isinstance(layer, FFLayer) else FFLayer(layer) for layer in layers)
        self.output: nn.Linear | None = None
        #: Shape of one output sample of every layer; empty before the setup.
        self.output_shapes: list[tuple[int, ...]] = []
        claimed: list[FFLayer] = []
        try:
            for index, layer in enumerate(self.stack):
                with naming_layer(index):
                    layer.claim()
                claimed.append(layer)
                self._check_layer(index, layer)
            self._assemble(normalization, input_shape)
        except Exception:
            for layer in claimed:  # the caller may correct an argument and use them again
                layer.release()
            raise

    def _assemble(self, normalization: nn.Module | None, input_shape: Sequence[int] | None) -> None:
        """Check that the layers fit together, and complete the network."""
        skip_tensors(self.stack)  # raises for a connection from before the first layer
        self._check_preprocessing()
        shape = self.stack[0].input_shape if input_shape is None else input_shape
        for layer in self.stack:
            if layer.normalization is None:
                layer.normalization = copy.deepcopy(normalization)
        if shape is not None:
            self.setup(shape)

    def _check_layer(self, index: int, layer: FFLayer) -> None:
        """Check that the learning rule is defined for a layer; called by the constructor."""

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, with the normalization that the layers have now."""
        return {
            "layers": self.stack,
            "num_classes": self.num_classes,
            "preprocessing": self.preprocessing,
            "input_shape": self.input_shape,
            "views": self.views,
            **({"loss": self.loss} if self.takes_loss else {}),
        }

    @property
    def is_set_up(self) -> bool:
        """Whether the shapes of all parameters are known."""
        return self.output is not None

    @checked
    def setup(self, input_shape: Sequence[PositiveInt]) -> None:
        """Set up every layer in a dry run on one input of zeros, and create the output layer.

        Called at the first batch if the input's shape is unknown at construction.

        Args:
            input_shape: Shape of one raw input.
        """
        super().setup(input_shape)
        if self.is_set_up:
            return
        shapes = setup_layers(self.stack, self.preprocessing.output_shape(input_shape))
        self.output_shapes = shapes[1:]
        assert self.num_classes is not None
        self._setup_scaling()
        check_memory("num_classes", self.num_classes, math.prod(shapes[-1]))
        self.output = nn.Linear(math.prod(shapes[-1]), self.num_classes).to(self.device, self.dtype)
        self._setup_feedback()

    def _setup_feedback(self) -> None:
        """Create what the learning rule needs beside the layers; called once, when all shapes are known."""

    def parameter_groups(self) -> Mapping[str, nn.Module]:
        """Return one group, the whole network."""
        return {"network": self}

    def forward(self, images: Array) -> Tensor:
        """Return the logits, ``(batch, classes)``.

        Args:
            images: Raw images, ``(batch, ...)``.
        """
        return self.logits(self.prepare(images))

    def logits(self, x: Tensor) -> Tensor:
        """Return the logits of preprocessed images, ``(batch, classes)``."""
        [last] = deque(layer_outputs(self.stack, x, cut=False), maxlen=1)
        assert self.output is not None
        logits: Tensor = self.output(last.flatten(1))
        return logits

    def activations(self, images: Array, labels: Array | None = None) -> dict[int, Tensor]:
        """Return the output of every layer by its index.

        Args:
            images: Raw images, ``(batch, ...)``.
            labels: Must be None: a baseline has no labels in its input.
        """
        if labels is not None:
            raise ValueError("labels must be None for a network without labels in its input")
        return dict(enumerate(layer_outputs(self.stack, self.prepare(images), cut=False)))

    def gradients(self, images: Tensor, labels: Tensor, autocast: torch.dtype | None = None) -> Tensor:
        """Accumulate the learning rule's gradients in ``grad`` of the parameters, and return the detached logits.

        Args:
            images: Preprocessed images, ``(batch, ...)``.
            labels: Class indices, ``(batch,)``, or other targets of the loss.
            autocast: Compute precision.
        """
        with autocast_to(autocast, images.device):
            logits = self.logits(images)
        self.loss(logits, labels).backward()
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
        validate: bool = True,
    ) -> StepResult:
        """Update the network on one batch.

        Args:
            batch: Raw images ``(batch, ...)`` and class indices ``(batch,)``, or other targets of the loss.
            optimizer: Optimizer of the network's only group.
            groups: No effect: a baseline has one group.
            generator: No effect: a baseline draws no negative samples.
            autocast: Compute precision.
            monitor: Whether to return the norm of every layer's gradient.
            whole_step: No effect: the step is not compiled, so ``fit(compile=True)`` trains a baseline uncompiled.
            validate: Whether to check that images are finite and labels and indices in range, which waits for the
                device.
        """
        check_optimizer(optimizer)
        if validate is not False:
            check_step(groups, generator, autocast, monitor, whole_step, validate)
        with torch.inference_mode(False), torch.enable_grad():
            images, labels = self._checked_batch(batch, validate)
            if labels is None:
                raise ValueError("labels must be given for the loss of a baseline, got None")
            optimizer.attach(self)
            optimizer.zero_grad()
            logits = self.gradients(images, labels, autocast)
            norms = {i: gradient_norm(layer) for i, layer in enumerate(self.layers)} if monitor else {}
            optimizer.step()
        with torch.no_grad():
            figures = self.target_kind.figures(logits, self.loss.scores(logits), labels)
            head = LocalLoss(self.loss(logits, labels), accuracy=figures.accuracy)
        return StepResult(head=head, gradient_norms=norms)

    @torch.no_grad()
    def scores(self, images: Array) -> Tensor:
        """Return the logits as the loss's scores, in evaluation mode, ``(batch, classes)``.

        Args:
            images: Raw images, ``(batch, ...)``.

        Raises:
            ValueError: If a logit is NaN or infinite.
        """

        def logits_of(images: Array) -> Tensor:
            x = self.prepare(images)
            with eval_mode(self):
                return check_finite(self.loss.scores(self.logits(x)))

        return self._mean_over_views(images, logits_of)


def linear_modules(layer: FFLayer, index: int, rule: str) -> list[LinearModule]:
    """Return the :class:`torch.nn.Linear` and :class:`torch.nn.Conv2d` modules of a layer, in order.

    Args:
        layer: The layer; its objective and peer normalization are ignored, since a baseline does not use them.
        index: Index of the layer, for the error message.
        rule: Name of the learning rule, for the error message.

    Raises:
        ValueError: If the layer has weights in other modules, for which the rule is not defined.
    """
    parts = [layer.normalization, layer.block, layer.activation, layer.pool, layer.residual]
    linear: list[LinearModule] = []
    for module in (module for part in parts if isinstance(part, nn.Module) for module in part.modules()):
        if type(module) in (nn.Linear, nn.Conv2d, Conv2d):
            linear.append(module)  # type: ignore[arg-type]
        elif not isinstance(module, nn.LayerNorm) and any(p.dim() > 1 for p in module.parameters(recurse=False)):
            raise ValueError(
                f"layers must have their weights in nn.Linear and nn.Conv2d for {rule}, "
                f"but layer {index} has {type(module).__name__}"
            )
    return linear
