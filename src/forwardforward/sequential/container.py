"""The container: layers, label encoder, negatives, head and preprocessing of one network."""

from __future__ import annotations

import contextlib
import copy
import operator
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from forwardforward._utils.annotations import describe
from forwardforward._utils.arguments import NumClasses, PositiveInt, checked
from forwardforward._utils.checks import check_finite, check_saved
from forwardforward._utils.memory import check_memory
from forwardforward._utils.modes import autocast_to, eval_mode
from forwardforward.batches import Batch, LabeledInput
from forwardforward.classifiers import Candidates, SumOverLayers, WithHead
from forwardforward.heads import LinearHead
from forwardforward.label_encoders import LabelEncoder
from forwardforward.layers import FFLayer
from forwardforward.layers.chain import layer_outputs, naming_layer, run_layers, setup_layers, skip_tensors
from forwardforward.layers.defaults import Defaults
from forwardforward.negatives import Negatives
from forwardforward.network import Classifier, Network
from forwardforward.normalization import PeerNormalization
from forwardforward.objectives import LocalLoss, Objective
from forwardforward.optimizers import LocalOptimizer
from forwardforward.optimizers.local import check_optimizer
from forwardforward.preprocessing import Array, Preprocessing
from forwardforward.scoring import CompiledFunctions, Scorer
from forwardforward.sequential.parts import (
    check_classifier,
    checked_head,
    checked_layer,
    common_num_classes,
    common_target_kind,
    common_use_of_negatives,
    default_classifier,
)
from forwardforward.sequential.sampler import Sampler, checked_sampler, draw_samples, tried_samples
from forwardforward.specs import example_inputs
from forwardforward.step import LayerwiseStep, MicroBatches, Share, Stack, StepResult, WholeStep
from forwardforward.step.arguments import check_step
from forwardforward.update_schedules import Groups, Joint
from forwardforward.views import Views

__all__ = ["FFSequential"]


@checked
class FFSequential(Network):
    """A stack of layers, each trained with its own objective.

    Plug-ins given here are defaults for layers without their own; every layer gets copies, and so does the network.
    ``model(x)`` returns the last layer's output: features, under the neutral label if the network has labels in its
    input. Gradients stop at the layer borders of ``model(x)``, as in training; ``torch.nn.Sequential(*model)`` computes
    the same layers without borders.

    Args:
        *layers: The layers, in order; a plain module is wrapped in an :class:`~forwardforward.FFLayer`.
        goodness: Scalar or per-class goodness.
        loss: A pair, class or batch loss; its base class states the kind of objective.
        objective: In place of ``goodness`` and ``loss``: an objective, such as a sum of several.
        normalization: Applied to each layer's input, including the first; None for none.
        peer: Peer normalization of every layer, or None.
        label_encoder: Encodes labels in the input, for pair objectives; None for a network without labels in its input.
        negatives: Makes positive and negative samples, for pair objectives; default: a uniformly drawn wrong label.
        head: A one-pass linear head, trained together with the layers. Added automatically if ``negatives`` needs its
            scores, or if nothing else can classify and ``num_classes`` is given.
        classifier: Function from the layers' goodness ``(batch, layers, classes)`` to scores, or ``"head"``. Default:
            the goodness summed over all layers but the first for pair objectives, over all layers for class objectives;
            its mean for targets that are real values; the head if layers cannot classify.
        num_classes: Number of classes, if neither label encoder nor goodness define it.
        preprocessing: Conversion of raw inputs; default: to floating point, without standardization. Indices, the
            inputs of embedding layers, cannot be standardized.
        input_shape: Shape of one raw input. Default: taken from the first layer, such as an
            :class:`~forwardforward.FFLinear`, or from the first batch; parameters that depend on it do not exist
            before.
        views: Views of an image whose goodness is averaged in classification, see :mod:`forwardforward.views`; default:
            the image alone.
        chunk_size: Largest number of activations of one layer per chunk in classification.

    Raises:
        TypeError: If an argument has the wrong kind.
        ValueError: If there are no layers, layers with and without negatives are mixed, or plug-ins do not fit
            together.

    Example:
        >>> import forwardforward as ff
        >>> model = ff.FFSequential(
        ...     ff.FFLinear(784, 100),
        ...     ff.FFLinear(100, 100),
        ...     goodness=ff.goodness.SumOfSquares(),
        ...     loss=ff.losses.Threshold(theta="width"),
        ...     normalization=ff.normalization.RMSNorm(),
        ...     label_encoder=ff.label_encoders.Overlay(num_classes=10),
        ... )
        >>> model.predict(torch.zeros(3, 784)).shape
        torch.Size([3])
    """

    def __init__(
        self,
        *layers: nn.Module,
        goodness: Callable[[Tensor], Tensor] | None = None,
        loss: Callable[..., Tensor] | None = None,
        objective: Objective | None = None,
        normalization: Callable[[Tensor], Tensor] | None = None,
        peer: PeerNormalization | None = None,
        label_encoder: LabelEncoder | None = None,
        negatives: Sampler | None = None,
        head: LinearHead | None = None,
        classifier: Classifier | None = None,
        num_classes: NumClasses | None = None,
        preprocessing: Preprocessing | None = None,
        input_shape: Sequence[PositiveInt] | None = None,
        views: Views | None = None,
        chunk_size: PositiveInt = 2**22,
    ) -> None:
        super().__init__(preprocessing, views=views)
        if objective is not None and (goodness is not None or loss is not None):
            raise ValueError("objective must not be given with goodness or loss: it contains both")
        if not layers:
            raise ValueError("layers must contain at least one layer, got none")
        self.chunk_size = chunk_size
        self._compiled_scoring: CompiledFunctions | None = None
        self.label_encoder = copy.deepcopy(label_encoder)
        self._given_num_classes = num_classes
        self._defaults = Defaults(goodness, loss, objective, normalization, peer)
        self._shapes: list[tuple[int, ...]] = []  # of the first layer's input and of every output
        checked = [checked_layer(index, layer) for index, layer in enumerate(layers)]  # all, before one is changed
        adopted: list[FFLayer] = []
        try:
            for index, layer in enumerate(checked):
                adopted.append(self._adopted(index, layer))
            self.layers = nn.ModuleList(adopted)
            self._assemble(negatives, head, classifier, input_shape)
        except Exception:
            for layer in adopted:  # the caller may correct an argument and use them again
                layer.release()
            raise

    # Construction

    def _assemble(
        self,
        negatives: Sampler | None,
        head: LinearHead | None,
        classifier: Classifier | None,
        input_shape: Sequence[int] | None,
    ) -> None:
        """Check that layers and plug-ins fit together, and complete the network."""
        objectives, encoder = self._objectives(), self.label_encoder
        self.uses_negatives = common_use_of_negatives(objectives)
        self._set_target_kind(common_target_kind(objectives))
        self.negatives = checked_sampler(negatives, self.uses_negatives, encoder)
        self.num_classes = common_num_classes(self._given_num_classes, objectives, encoder, head)
        self.head = self._checked_head(head)
        if classifier is not None:
            check_classifier(classifier, self.target_kind, self.layers_classify, self.head)
        self.classifier = self._new_classifier() if classifier is None else copy.deepcopy(classifier)
        self._default_classifier = self.classifier if classifier is None else None
        skip_tensors(self.stack)  # refuses a connection from before the first layer
        self._check_preprocessing()
        self._check_saved()
        if input_shape is not None:
            self.setup(input_shape)
        elif (shape := self.stack[0].input_shape) is not None:
            self._setup_layers(shape)

    def _adopted(self, index: int, layer: FFLayer) -> FFLayer:
        """Return a layer with the network's plug-ins where it lacks its own."""
        with naming_layer(index):
            layer.adopt(self._defaults)
        return layer

    def _checked_head(self, head: LinearHead | None) -> LinearHead | None:
        return checked_head(
            head, len(self), self.target_kind, self.num_classes, self.layers_classify, self.needed_scores
        )

    def _new_classifier(self) -> Classifier:
        return default_classifier(self.target_kind, self.layers_classify, self.classifying_layers())

    def _check_saved(self) -> None:
        """Refuse plug-ins with tensors that the state dict would not contain."""
        plugins: dict[str, object] = {"label_encoder": self.label_encoder, "classifier": self.classifier}
        for index, layer in enumerate(self.stack):
            plugins[f"layers.{index}.objective"] = layer.objective
            plugins[f"layers.{index}.normalization"] = layer.normalization
        for place, plugin in plugins.items():
            check_saved(place, plugin)

    # Setup

    @property
    def is_set_up(self) -> bool:
        """Whether the shapes of all parameters are known."""
        return bool(self._shapes)

    @checked
    def setup(self, input_shape: Sequence[PositiveInt]) -> None:
        """Set up every plug-in in a dry run on one input; called at the first batch if not at construction.

        Args:
            input_shape: Shape of one raw input.

        Raises:
            ValueError: If a layer or plug-in does not accept the shape.
        """
        prepared = shape = self.preprocessing.output_shape(input_shape)
        if self.label_encoder is not None:
            shape = self.label_encoder.joined_shape(shape)
        if self.is_set_up:
            example = example_inputs(1, shape, self.num_embeddings, self.dtype, self.device)
            self.stack[0].check_input(example)  # a wrong shape must not become the network's
            self.stack[0].input_shape = shape  # as in a network that is built from this one's configuration
        else:
            self._setup_layers(shape)
        self._try(prepared)
        super().setup(input_shape)

    @torch.inference_mode(False)
    @torch.no_grad()
    def _try(self, shape: tuple[int, ...]) -> None:
        """Try negatives and objectives on images of zeros, so that one of another form is refused by name.

        Here values are read on the host; a step does not do that.
        """
        device = self.device
        if device.type == "meta":
            return
        with torch.random.fork_rng([device] if device.type == "cuda" else []):  # initial weights stay the same
            images = example_inputs(4, shape, self.num_embeddings, self.dtype, device)
            example = self.target_kind.example(torch.zeros(2, self.num_classes or 2, dtype=self.dtype, device=device))
            targets = example.repeat(2, *[1] * (example.dim() - 1))  # each class twice, as contrastive losses need
            if self.negatives is None:
                samples = Batch(images, targets)
            else:
                samples = tried_samples(self.negatives, images, targets, self.label_encoder, self.num_classes)
            for index, layer in enumerate(self.stack):
                with naming_layer(index):
                    layer.try_objective(samples)

    def _setup_layers(self, shape: tuple[int, ...]) -> None:
        shapes = setup_layers(self.stack, shape)
        if self.label_encoder is not None:  # the first layer computes its response to every class at once
            check_memory("num_classes", self.label_encoder.num_classes, *shapes[1])
        self._check_saved()  # of tensors that a plug-in created in its setup
        self.num_classes = common_num_classes(
            self._given_num_classes, self._objectives(), self.label_encoder, self.head
        )
        self._setup_scaling()
        if self.head is not None:
            self.head.setup(shapes[1:], self.device, self.dtype)
        self._shapes = shapes

    def append(self, layer: nn.Module) -> FFSequential:
        """Append a layer to the network, which may be trained already, and return the network.

        Weights of the other layers stay; the new layer takes the network's default plug-ins. Optimizers that follow
        this network keep their state and add one for the new layer. A head keeps the weights of the layers that it
        still reads; those of the new layer are zero. A classifier that was passed or assigned stays, with the layers
        that it reads; a :class:`~forwardforward.classifiers.BestInterval` chooses again at the next validation.

        Args:
            layer: The new layer; a plain module is wrapped in an :class:`~forwardforward.FFLayer`.

        Raises:
            ValueError: If the layer does not fit the last layer's output, or has another kind of objective.

        Example:
            >>> import forwardforward as ff
            >>> model = ff.FFSequential(
            ...     ff.FFLinear(8, 6), goodness=ff.goodness.LearnedProjection(3), loss=ff.losses.CrossEntropy()
            ... )
            >>> len(model.append(ff.FFLinear(6, 5)))
            2
        """
        new = self._adopted(len(self), checked_layer(len(self), layer)).to(self.device, self.dtype)
        if not isinstance(new.objective, Objective) or new.objective.uses_negatives != self.uses_negatives:
            new.release()
            raise ValueError(f"layer must have the same kind of objective as the others, got {describe(new.objective)}")
        self.layers.append(new)
        head, kind = self.head, self.target_kind
        try:
            self.target_kind = common_target_kind(self._objectives())
            if self.target_kind.has_one_class != kind.has_one_class:
                raise ValueError(
                    f"layer must accept the targets of the others, {kind!r}, got an objective of {self.target_kind!r}"
                )
            skip_tensors(self.stack)
            self._check_saved()
            if head is None:
                self.head = self._checked_head(None)
            new_classifier = self._new_classifier()
            if self.is_set_up:
                self._setup_layers(self._shapes[0])  # of all layers, since one may have been replaced
            if self.input_shape is not None:
                self._try(self.preprocessing.output_shape(self.input_shape))
        except Exception:
            del self.layers[-1]
            self.head, self.target_kind = head, kind
            new.release()
            raise
        if self.classifier is self._default_classifier:
            self.classifier = self._default_classifier = new_classifier
        new.train(self.training)
        return self

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, with the plug-ins that the layers have now."""
        return {
            "layers": self.stack,
            **{name: getattr(self._defaults, name) for name in ("goodness", "loss", "objective")},
            **{name: getattr(self._defaults, name) for name in ("normalization", "peer")},
            "label_encoder": self.label_encoder,
            "negatives": self.negatives,
            "head": self.head,
            "classifier": None if self.classifier is self._default_classifier else self.classifier,
            "num_classes": self._given_num_classes,
            "preprocessing": self.preprocessing,
            "input_shape": self.input_shape,
            "chunk_size": self.chunk_size,
            "views": self.views,
        }

    # Structure

    def __iter__(self) -> Iterator[FFLayer]:
        """Iterate over the layers in order."""
        return iter(self.stack)

    def __getitem__(self, index: int) -> FFLayer:
        """Return the layer of that index, from 0 or, if negative, from the end."""
        return self.stack[operator.index(index)]

    def parameter_groups(self) -> Mapping[str, nn.Module]:
        """Return the modules that are updated separately: layers by index, the head, and a learned label encoder.

        Raises:
            RuntimeError: If the shapes of parameters are not known yet.
        """
        if not self.is_set_up:
            raise RuntimeError(
                "the input's shape is not known yet: pass input_shape= to FFSequential, or call model.setup(shape)"
            )
        groups: dict[str, nn.Module] = {str(i): layer for i, layer in enumerate(self.stack)}
        if self.label_encoder is not None and any(True for _ in self.label_encoder.parameters()):
            groups["label_encoder"] = self.label_encoder  # updated with the first layer
        return groups if self.head is None else {**groups, "head": self.head}

    @property
    def layers_classify(self) -> bool:
        """Whether every layer can classify by its own goodness."""
        if self.uses_negatives:
            return self.label_encoder is not None
        return all(objective.has_goodness for objective in self._objectives())

    def _objectives(self) -> list[Objective]:
        return [layer.objective for layer in self.stack if layer.objective is not None]

    def classifying_layers(self) -> slice:
        """Return all layers but the first, which finds the label in its input too easily, as in Hinton's program."""
        return slice(1, None) if self.uses_negatives and len(self) > 1 else slice(None)

    @property
    def needed_scores(self) -> str | None:
        """The scores that the negatives need: None, ``"head"`` or ``"goodness"``."""
        return self.negatives.scores if isinstance(self.negatives, Negatives) else None

    @property
    def needs_labels(self) -> bool:
        """Whether a training step needs labels."""
        if not self.uses_negatives:
            return True
        return self.negatives.needs_labels if isinstance(self.negatives, Negatives) else self.label_encoder is not None

    # Training

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
        micro_batches: MicroBatches | None = None,
        validate: bool = True,
        share: Share | None = None,
    ) -> StepResult:
        """Update the layers once.

        By default each group of layers runs forward, backward and its update before the next layer runs, so memory does
        not grow with depth. Every layer reads the outputs of the layers before from before their update.

        Args:
            batch: Raw images ``(batch, ...)`` and labels ``(batch,)``, or targets of another kind; they may be None if
                nothing needs them.
            optimizer: Local optimizers; attached to this network if they are not yet.
            groups: The layers to update, see :mod:`forwardforward.update_schedules`; default: each by itself.
            generator: Source of randomness for the negatives, on the network's device.
            autocast: Compute precision, such as ``torch.bfloat16``; goodness and weights keep theirs.
            monitor: Whether to measure gradient norms.
            whole_step: Computes the gradients of all layers in one function; default: layer by layer.
            micro_batches: Computes the gradients in parts of the batch; default: of the whole batch at once.
            validate: Whether to check that images are finite and labels and indices in range, which waits for the
                device; :func:`~forwardforward.fit` checks its data once.
            share: The samples of the batch that this process computes, if several processes train together, see
                :class:`~forwardforward.distributed.DataParallel`; layer by layer only.

        Returns:
            The local losses.

        Raises:
            TypeError: If an argument has the wrong kind.
            ValueError: If images and labels do not fit the network.
        """
        check_optimizer(optimizer)
        if validate is not False:
            check_step(groups, generator, autocast, monitor, whole_step, validate, micro_batches, share)
        if share is not None and (whole_step is not None or micro_batches is not None):
            name = "micro_batches" if whole_step is None else "whole_step"
            raise ValueError(f"{name} must be None for a share of a batch, which is computed layer by layer")
        groups = Joint()(len(self), 0, 0, 1) if groups is None else groups
        with torch.inference_mode(False), torch.enable_grad():
            samples, labels, features = self.samples(batch, generator, autocast, validate, share)
            stack = self.training_stack(labels is not None)
            optimizer.attach(self)
            if micro_batches is not None:
                result, rows = micro_batches.run(stack, optimizer, samples, groups, autocast, monitor, whole_step)
            elif whole_step is None:
                with contextlib.nullcontext() if share is None else share.draws():
                    layerwise = LayerwiseStep(stack, optimizer, samples, autocast, monitor, share=share)
                    result, rows = layerwise.run(groups), layerwise.outputs
            else:
                result, rows = whole_step.run(stack, optimizer, samples, groups, autocast, monitor)
            if self.head is not None and labels is not None:
                features = self.head.read(rows) if features is None else features
                result.head = self._update_head(self.head, features, labels, optimizer, share)
        return result

    def training_stack(self, has_labels: bool = True) -> Stack:
        """Return the layers, with the names of their parameter groups and what the head reads of their outputs.

        Args:
            has_labels: Whether the batches have labels, which the head needs.
        """
        names: list[tuple[str, ...]] = [(str(i),) for i in range(len(self))]
        if "label_encoder" in self.parameter_groups():
            names[0] = ("0", "label_encoder")
        reads_outputs = self.head is not None and self.label_encoder is None and has_labels
        observed = self.head.indices(len(self)) if self.head is not None and reads_outputs else ()
        return Stack(self.stack, names, frozenset(observed), self._head_rows)

    def samples(
        self,
        batch: tuple[Tensor, Tensor | None],
        generator: torch.Generator | None = None,
        autocast: torch.dtype | None = None,
        validate: bool = True,
        share: Share | None = None,
    ) -> tuple[Batch, Tensor | None, Tensor | None]:
        """Return the samples of a training step, their labels, and the head's features if it reads a neutral label.

        Args:
            batch: Raw images ``(batch, ...)`` and labels ``(batch,)``, of all processes.
            generator: Source of randomness for the negatives; all processes draw those of the whole batch.
            autocast: Compute precision of the scores for the negatives.
            validate: As in :meth:`step`.
            share: The samples that are returned; default: all.
        """
        if share is not None and self.negatives is None:  # no sampler needs the other samples
            images, labels = batch
            batch = images[share.part], None if labels is None else labels[share.part]
        images, labels = self.prepared_batch(batch, validate)
        with autocast_to(autocast, images.device):
            features, scores = self._scores_for_negatives(images, generator, share)
            samples = self.make_batch(images, labels, scores, generator)
        if self.negatives is None:
            return samples, labels, None
        if share is not None:
            samples, labels = samples.part(share.part), None if labels is None else labels[share.part]
        return samples, labels, features

    def _update_head(
        self, head: LinearHead, features: Tensor, labels: Tensor, optimizer: LocalOptimizer, share: Share | None
    ) -> LocalLoss:
        """Update the head, and return its loss and accuracy."""
        if share is None:
            return head.step(features, labels, optimizer, self.target_kind)
        optimizer.zero_grad("head")
        local = head.local_loss(features, labels, self.target_kind)
        if local.loss.requires_grad:  # the head may be frozen
            local.loss.backward(local.loss.new_tensor(share.weight))
        figures = share.reduce(optimizer.parameters("head"), local.detach()).wait()
        if local.loss.requires_grad:
            optimizer.step("head")
        return figures

    def prepared_batch(
        self, batch: tuple[Tensor, Tensor | None], validate: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """Return preprocessed images and labels.

        Args:
            batch: Raw images ``(batch, ...)`` and labels ``(batch,)``.
            validate: As in :meth:`step`.

        Raises:
            ValueError: If labels are needed and missing.
        """
        images, labels = self._checked_batch(batch, validate)
        if labels is None and self.needs_labels:
            raise ValueError("labels must be given for this network's objectives, got None")
        return images, labels

    def _scores_for_negatives(
        self, images: Tensor, generator: torch.Generator | None, share: Share | None = None
    ) -> tuple[Tensor | None, Tensor | None]:
        """Return the head's features under the neutral label, and the scores that the negatives need.

        With a share, features are those of its samples, and scores those of the whole batch.
        """
        if self.label_encoder is None or (self.head is None and self.needed_scores is None):
            return None, None
        with eval_mode(self), torch.no_grad(), contextlib.nullcontext() if share is None else share.scoring():
            labels = self.scorer.head_labels(images, generator)
            if share is not None:
                images, labels = images[share.part], None if labels is None else labels[share.part]
            classifier = SumOverLayers(self.classifying_layers())
            features, scores = self.scorer.scores_for_negatives(images, labels, self.needed_scores, classifier)
            return features, scores if scores is None or share is None else share.gather(scores)

    def make_batch(
        self, images: Tensor, labels: Tensor | None, scores: Tensor | None, generator: torch.Generator | None
    ) -> Batch:
        """Return the samples of a training step.

        Args:
            images: Preprocessed images.
            labels: Class indices.
            scores: The scores that the negatives need, see :attr:`needed_scores`.
            generator: Source of randomness for the negatives.

        Raises:
            TypeError: If the sampler returns something else.
        """
        if self.negatives is None:
            return Batch(images, labels)
        return draw_samples(self.negatives, images, labels, self.label_encoder, scores, generator)

    # Outputs

    def forward(self, images: Tensor | NDArray[Any]) -> Tensor:
        """Return the last layer's output, under the neutral label if labels are part of the input.

        Args:
            images: Raw images, ``(batch, ...)``.
        """
        x = self.prepare(images)
        with self.naming_shape(images):
            [output] = deque(layer_outputs(self.stack, self._input(x)), maxlen=1)
        return output

    def activations(self, images: Array, labels: Array | None = None) -> dict[int, Tensor]:
        """Return the output of every layer by its index.

        Args:
            images: Raw images, ``(batch, ...)``.
            labels: Class indices to join to the images; default: the neutral label.
        """
        x = self.prepare(images)
        with self.naming_shape(images):
            return dict(enumerate(layer_outputs(self.stack, self._input(x, labels))))

    def _input(self, images: Tensor, labels: Array | None = None) -> Tensor | LabeledInput:
        """Return the first layer's input, under the neutral label if no labels are given."""
        if self.label_encoder is not None:
            if labels is None:
                return self.label_encoder.neutral(images)
            labeled: LabeledInput = self.label_encoder(images, self.check_labels(images, labels))
            return labeled
        if labels is not None:
            raise ValueError("labels must be None for a network without labels in its input")
        return images

    @torch.no_grad()
    def goodness(self, images: Array, labels: Array) -> Tensor:
        """Return each layer's goodness of images with given labels, ``(batch, layers)``.

        Args:
            images: Raw images, ``(batch, ...)``.
            labels: Class indices, ``(batch,)``.

        Raises:
            ValueError: If the network's goodness does not depend on labels.
        """
        indices = self.check_labels(self.prepare(images), labels)
        self._check_goodness()

        def goodness_of(images: Array) -> Tensor:
            x = self.prepare(images)
            with eval_mode(self), self.naming_shape(images):
                return check_finite(self._scorer.goodness(x, indices))

        return self._mean_over_views(images, goodness_of)

    @torch.no_grad()
    def layer_goodness(self, images: Array) -> Tensor:
        """Return each layer's goodness of each image under every label, ``(batch, layers, classes)``.

        The images are divided into chunks, so that no layer computes more than ``chunk_size`` activations at once (but
        at least one image with one label). Evaluation mode is used, and the mode is restored.

        Args:
            images: Raw images, ``(batch, ...)``.

        Raises:
            ValueError: If the network's goodness does not depend on labels.
        """

        def goodness_of(images: Array) -> Tensor:
            x = self.prepare(images)
            self._check_goodness()
            with eval_mode(self), self.naming_shape(images):
                return check_finite(self._scorer.layer_goodness(x))

        return self._mean_over_views(images, goodness_of)

    @property
    def scorer(self) -> Scorer:
        """Goodness and features of prepared images as functions of the layers, which expect evaluation mode."""
        return Scorer(tuple(self.stack), self.label_encoder, self.head, self.chunk_size)

    @property
    def _scorer(self) -> Scorer:
        """The same, compiled if :meth:`compile_scoring` was called."""
        return replace(self.scorer, compiled=self._compiled_scoring)

    def compile_scoring(self) -> None:
        """Compile classification with ``torch.compile``: predictions, scores, goodness of layers and the head's logits.

        Compiling takes place at the first batch of a shape, for some seconds. A smaller last batch runs without the
        compiler. Weights may change later; a copy or a loaded network is not compiled. If the compiler fails, one
        warning is issued, and classification continues without it. Scores are equal within rounding.

        Example:
            >>> import forwardforward as ff
            >>> model = ff.FFSequential(
            ...     ff.FFLinear(8, 6), goodness=ff.goodness.LearnedProjection(3), loss=ff.losses.CrossEntropy()
            ... )
            >>> model.compile_scoring()
        """
        self._compiled_scoring = CompiledFunctions()

    @torch.no_grad()
    def local_losses(
        self, batch: tuple[Tensor, Tensor | None], generator: torch.Generator | None = None
    ) -> list[LocalLoss]:
        """Return every layer's local loss of one batch, in evaluation mode and without an update.

        Args:
            batch: Raw images ``(batch, ...)`` and labels ``(batch,)``.
            generator: Source of randomness for the negatives, on the network's device.
        """
        check_step(generator=generator)
        with eval_mode(self):
            samples, _, _ = self.samples(batch, generator)
            return list(
                run_layers(self.stack, samples.inputs, lambda layer, x, skip: layer.local_loss(x, samples, skip))
            )

    @torch.no_grad()
    def head_logits(self, images: Array, generator: torch.Generator | None = None) -> Tensor:
        """Return the one-pass head's logits, ``(batch, classes)``.

        Args:
            images: Raw images, ``(batch, ...)``.
            generator: Draws the labels of a head that reads features under random labels; default: the same labels in
                every call.

        Raises:
            ValueError: If the network has no head.
        """
        if self.head is None:
            raise ValueError(
                "head must be given for this: FFSequential(..., head=ff.heads.LinearHead(num_classes)), got None"
            )
        check_step(generator=generator)
        head = self.head

        def logits_of(images: Array) -> Tensor:
            x = self.prepare(images)
            draws = generator
            if generator is None and head.label == "random":
                draws = torch.Generator(x.device).manual_seed(0)
            with eval_mode(self), self.naming_shape(images):
                scorer = self._scorer
                return check_finite(head(scorer.head_features(x, scorer.head_labels(x, draws))))

        return self._mean_over_views(images, logits_of)

    def _head_rows(self, output: Tensor) -> Tensor:
        """Return the head's features of a layer's output."""
        assert self.head is not None
        return self.head.rows(output)

    @torch.no_grad()
    def scores(self, images: Array) -> Tensor:
        """Return the classifier's scores, ``(batch, classes)``; the largest wins.

        Args:
            images: Raw images, ``(batch, ...)``.

        Raises:
            ValueError: If the goodness is NaN or infinite, or a score is NaN.
        """
        if self.classifier == "head":
            return self.head_logits(images)
        if isinstance(self.classifier, WithHead):
            return self.classify(self.layer_goodness(images), self.head_logits(images))
        if not isinstance(self.classifier, Candidates) or self.views is not None:  # views have other candidates
            return self.classify(self.layer_goodness(images))
        x = self.prepare(images)
        self._check_goodness()
        with eval_mode(self), self.naming_shape(images):
            return self.classify(self._scorer.candidate_goodness(x, self.classifier))

    def _check_goodness(self) -> None:
        if self.uses_negatives and self.label_encoder is None:
            raise ValueError("this network's goodness does not depend on labels: classify by its head")

    def extra_repr(self) -> str:
        """Return the arguments that are not modules."""
        return "" if self.negatives is None else f"negatives={self.negatives!r}"
