"""The stack: layers, what makes their batches, the training step and classification."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from forwardforward import classifiers
from forwardforward._inputs import check_finite, check_images, check_labels_of
from forwardforward._scoring import goodness_by_class, goodness_by_label, goodness_of, widest_of
from forwardforward._updates import StepResult, Walk
from forwardforward._utils.modes import autocast_to, eval_mode
from forwardforward.batches import Batch, LabelledInput
from forwardforward.label_encoders import LabelEncoder
from forwardforward.layers import FFLayer
from forwardforward.layers.layer import check_made
from forwardforward.negatives import RandomLabel
from forwardforward.normalization import PeerNormalization
from forwardforward.objectives import LocalLoss
from forwardforward.optimizers import LocalOptimizer
from forwardforward.pooling import SequencePool, SpatialPool
from forwardforward.update_schedules import Groups, Joint

__all__ = ["FFSequential", "StepResult"]


class FFSequential(nn.Module):
    """A stack of layers, each trained by an objective of its own.

    Plug-ins given here are defaults; each layer that was not given its own gets a copy. ``model(x)`` gives the last
    layer's activations: features, read under the neutral label where the network has labels in its input.

    Args:
        *layers: The layers, in order; a plain module is wrapped into an :class:`~forwardforward.FFLayer`.
        goodness: Scalar or per-class goodness.
        loss: Loss over the goodness; goodness and loss decide what kind of objective the layers have.
        normalization: Applied to each layer's input, the first's too; None passes activations on as they are.
        peer: Peer normalization of every layer, or None.
        labels: How labels join the input, for pair objectives; None for a network that sees images alone.
        negatives: Makes positive and negative samples, for pair objectives; a uniform wrong label unless given.
        head: A one-pass linear head, trained alongside. Added by itself where ``negatives`` scores with one, or where
            nothing else can classify and ``num_classes`` is given.
        classifier: What ``predict`` asks. Unless given: the goodness of all layers but the first for pair objectives
            with labels, of all layers for class objectives, else the head.
        num_classes: Number of classes, where neither labels nor goodness tell.
        chunk: Largest number of activations of one layer held at once in classification.

    Raises:
        ValueError: If there are no layers, layers of different contracts are mixed, or plug-ins do not fit together.

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
        normalization: nn.Module | None = None,
        peer: PeerNormalization | None = None,
        labels: LabelEncoder | None = None,
        negatives: Callable[..., Batch] | None = None,
        head: classifiers.LinearHead | None = None,
        classifier: Callable[[FFSequential, Tensor], Tensor] | None = None,
        num_classes: int | None = None,
        chunk: int = 2**23,
    ) -> None:
        super().__init__()
        if not layers:
            raise ValueError("layers must hold at least one layer, got none")
        for one in layers:
            if not isinstance(one, nn.Module) or isinstance(one, nn.ModuleList):
                got = type(one).__name__
                raise TypeError(
                    f"layers must be modules, each an argument of its own (FFSequential(*layers)), got {got}"
                )
        plugins = {"goodness": goodness, "loss": loss, "normalization": normalization, "peer": peer, "labels": labels}
        check_made(**plugins, negatives=negatives, head=head, classifier=classifier)
        self.layers = nn.ModuleList(one if isinstance(one, FFLayer) else FFLayer(one) for one in layers)
        for index, layer in enumerate(self.stack):
            layer.compose(index, goodness=goodness, loss=loss, normalization=normalization, peer=peer)
        contracts = {self._objective(layer).paired for layer in self.stack}
        if len(contracts) > 1:
            kinds = [type(layer.objective).__name__ for layer in self.stack]
            raise ValueError(
                "layers must all have pair objectives or none, since a per-class layer after a labelled input "
                f"would read the label; got {', '.join(kinds)}"
            )
        self.paired = contracts.pop()
        if not self.paired and labels is not None:
            raise ValueError("labels must be None for class and batch objectives: the layers would read the label")
        if not self.paired and negatives is not None:
            raise ValueError("negatives must be None for class and batch objectives, which read plain images")
        self.labels = labels
        self.negatives = (negatives or RandomLabel()) if self.paired else None
        wanted = getattr(self.negatives, "scores", None)
        if wanted not in (None, "head", "goodness"):
            raise ValueError(f"negatives must have scores of None, 'head' or 'goodness', got {wanted!r}")
        if self.paired and labels is None and getattr(self.negatives, "needs_labels", False):
            raise ValueError(
                f"labels must be given for {self.negatives!r}, such as label_encoders.Overlay(num_classes=10)"
            )
        if labels is not None and not getattr(self.negatives, "needs_labels", True):
            raise ValueError(f"labels must be None for {self.negatives!r}, which makes samples without labels")
        known = [labels.num_classes if labels else None, num_classes, head.num_classes if head else None]
        known += [self._objective(layer).num_classes for layer in self.stack]
        counts = {one for one in known if one is not None}
        if len(counts) > 1:
            raise ValueError(f"num_classes must be the same everywhere, got {sorted(counts)}")
        self.num_classes = counts.pop() if counts else None
        self.head = self._bound_head(head)
        self.classifier = self._default_classifier() if classifier is None else classifier
        self.chunk = chunk
        self._sizes: dict[tuple[int, ...], int] = {}

    @property
    def stack(self) -> list[FFLayer]:
        """The layers, in order."""
        return [layer for layer in self.layers if isinstance(layer, FFLayer)]

    def __len__(self) -> int:
        """Return the number of layers."""
        return len(self.layers)

    def __iter__(self) -> Iterator[FFLayer]:
        """Go through the layers in order."""
        return iter(self.stack)

    def __getitem__(self, index: int) -> FFLayer:
        """Return the layer of that number, counted from 0 or, if negative, from the end."""
        return self.stack[operator.index(index)]

    def parameter_groups(self) -> Mapping[str, nn.Module]:
        """Return what is updated separately: the layers by their number, the head, and labels that are learned."""
        units: dict[str, nn.Module] = {str(i): layer for i, layer in enumerate(self.stack)}
        if self.labels is not None and any(True for _ in self.labels.parameters()):
            units["labels"] = self.labels  # updated with the first layer
        return units if self.head is None else {**units, "head": self.head}

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
    ) -> StepResult:
        """Update the layers once.

        Each group of layers runs forward, backward and its optimizers before the next layer runs, so that its
        activations are freed by then. What it passes on are its activations of before the update.

        Args:
            batch: Images ``(batch, ...)`` and labels ``(batch,)``; labels may be None where nothing asks for them.
            optimizer: Local optimizers; attached to this model if they are not yet.
            groups: Which layers to update, see :mod:`forwardforward.update_schedules`; each by itself unless given.
            generator: Source of randomness for the negatives, on the images' device.
            autocast: Precision of the products, such as ``torch.bfloat16``; goodness and weights keep theirs.
            monitor: Also measure gradient norms.

        Returns:
            The local losses.
        """
        images, labels = self._checked(batch)
        optimizer.attach(self)
        with autocast_to(autocast, images.device):
            features, scores = self._score(images, labels, generator)
            made = self._make_batch(images, labels, scores, generator)
        walk = Walk(self, optimizer, made, autocast, monitor, len(images))
        walk.update(Joint()(len(self), 0, 0, 1) if groups is None else groups)
        if self.head is not None and labels is not None:
            if features is None:
                walk.pass_on(max(self.head.indices) + 1)
                features = self.head.read(walk.rows)
            walk.result.head = self._update_head(features, labels, optimizer)
        self._release()
        return walk.result

    def _update_head(self, features: Tensor, labels: Tensor, optimizer: LocalOptimizer) -> LocalLoss:
        assert self.head is not None
        optimizer.zero_grad("head")
        logits = self.head(features.to(self.head.linear.weight.dtype))
        loss = nn.functional.cross_entropy(logits, labels)
        loss.backward()
        optimizer.step("head")
        return LocalLoss(loss.detach(), accuracy=(logits.detach().argmax(1) == labels).float().mean())

    def _score(
        self, images: Tensor, labels: Tensor | None, generator: torch.Generator | None
    ) -> tuple[Tensor | None, Tensor | None]:
        """Return the head's features under the neutral label, and what the negatives want to know."""
        wanted = getattr(self.negatives, "scores", None)
        if self.labels is None or (self.head is None and wanted is None):
            return None, None
        with eval_mode(self), torch.no_grad():
            features = None if self.head is None else self._head_features(images, generator)
            if wanted == "head":
                assert self.head is not None
                assert features is not None
                return features, self.head(features.to(self.head.linear.weight.dtype))
            if wanted == "goodness":
                return features, classifiers.SumOverLayers(self._voters())(self, images)
            return features, None

    def _make_batch(
        self, images: Tensor, labels: Tensor | None, scores: Tensor | None, generator: torch.Generator | None
    ) -> Batch:
        if self.negatives is None:
            return Batch(images, labels)
        return self.negatives(images, labels, self.labels, scores, generator)

    # Classification

    def forward(self, images: Tensor) -> Tensor:
        """Return the last layer's activations, under the neutral label where labels are part of the input.

        Args:
            images: ``(batch, ...)``.
        """
        first, *others = self.stack
        x: Tensor = first(self._input(images))
        for layer in others:
            x = layer(x)
        return x

    def activations(self, images: Tensor, labels: Tensor | None = None) -> dict[int, Tensor]:
        """Return every layer's activations, by its number.

        Args:
            images: ``(batch, ...)``.
            labels: Class indices to join to the images; the neutral label unless given.
        """
        x = self._input(images, labels)
        activations: dict[int, Tensor] = {}
        for i, layer in enumerate(self.stack):
            x = activations[i] = layer(x)
        return activations

    def _input(self, images: Tensor, labels: Tensor | None = None) -> Tensor | LabelledInput:
        """Return what the first layer reads, under the neutral label unless labels are given."""
        self._check(images, None, training=False)
        if self.labels is not None:
            return self.labels.neutral(images) if labels is None else self.labels(images, labels)
        if labels is not None:
            raise ValueError("labels must be None for a network that sees images alone")
        return images

    @torch.no_grad()
    def goodness(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return each layer's goodness of images with given labels.

        Args:
            images: ``(batch, ...)``.
            labels: Class indices, ``(batch,)``.

        Returns:
            ``(batch, layers)``.
        """
        self._check(images, labels)
        self._check_goodness()
        labels, at_once = labels.long(), self.rows_at_once(images)
        with eval_mode(self):
            if self.labels is None:
                goodness = goodness_by_class(self.stack, images, at_once)
                return goodness.gather(2, labels.view(-1, 1, 1).expand(-1, len(self), 1)).squeeze(2)
            parts = zip(images.split(at_once), labels.split(at_once), strict=True)
            return torch.cat([goodness_of(self.stack, self.labels(*part)) for part in parts])

    @torch.no_grad()
    def layer_goodness(self, images: Tensor) -> Tensor:
        """Return each layer's goodness of each image under every label, ``(batch, layers, classes)``.

        Work runs in chunks, so that no layer holds more than ``chunk`` activations at once (one image with one label
        at least). Evaluation mode is used whatever the model's mode, and the mode is restored.

        Args:
            images: ``(batch, ...)``.

        Raises:
            ValueError: If no objective of the network speaks of labels.
        """
        self._check(images, None, training=False)
        self._check_goodness()
        with eval_mode(self):
            if self.labels is None:
                return goodness_by_class(self.stack, images, self.rows_at_once(images))
            return goodness_by_label(self.stack, images, self.labels, self.rows_at_once(images))

    def rows_at_once(self, images: Tensor) -> int:
        """Return how many rows run at once in classification, so that no layer holds more than ``chunk`` activations.

        Args:
            images: ``(batch, ...)``; their shape counts.
        """
        shape = tuple(images.shape[1:])
        if shape not in self._sizes:
            with eval_mode(self):
                self._sizes[shape] = max(images[0].numel(), widest_of(self.stack, self._input(images[:1])))
        return max(1, self.chunk // self._sizes[shape])

    @property
    def layers_classify(self) -> bool:
        """Whether every layer can classify by its own goodness."""
        if self.paired:
            return self.labels is not None
        return all(self._objective(layer).classifies for layer in self.stack)

    @torch.no_grad()
    def local_losses(
        self, batch: tuple[Tensor, Tensor | None], generator: torch.Generator | None = None
    ) -> list[LocalLoss]:
        """Return what every layer's objective finds in a batch, in evaluation mode and without an update.

        Args:
            batch: Images ``(batch, ...)`` and labels ``(batch,)``.
            generator: Source of randomness for the negatives, on the images' device.
        """
        images, labels = self._checked(batch)
        with eval_mode(self):
            _, scores = self._score(images, labels, generator)
            made = self._make_batch(images, labels, scores, generator)
            x: Tensor | LabelledInput = made.inputs
            found = []
            for layer in self.stack:
                x, local = layer.local_loss(x, made)
                found.append(local)
        return found

    @torch.no_grad()
    def head_logits(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the one-pass head's logits, ``(batch, classes)``.

        Args:
            images: ``(batch, ...)``.
            generator: Draws the labels of a head that reads features under random ones; the same ones in every call
                unless given.

        Raises:
            ValueError: If the network has no head.
        """
        if self.head is None:
            raise ValueError("this network has no head: FFSequential(..., head=classifiers.LinearHead(num_classes))")
        if generator is None and self.head.label == "random":
            generator = torch.Generator(images.device).manual_seed(0)
        with eval_mode(self):
            parts = [
                self.head(self._head_features(part, generator)) for part in images.split(self.rows_at_once(images))
            ]
            return torch.cat(parts)

    def _head_features(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        assert self.head is not None
        labels = None
        if self.labels is not None and self.head.label == "random":
            labels = torch.randint(self._classes(), (len(images),), generator=generator, device=images.device)
        x, rows = self._input(images, labels), {}
        for i, layer in enumerate(self.stack[: max(self.head.indices) + 1]):
            x = layer(x)
            if i in self.head.indices:
                rows[i] = self.head.rows(x)
        self._release()
        return self.head.read(rows)

    @torch.no_grad()
    def scores(self, images: Tensor) -> Tensor:
        """Return the classifier's scores, ``(batch, classes)``; the largest wins."""
        self._check(images, None, training=False)
        return self.classifier(self, images)

    def predict(self, images: Tensor) -> Tensor:
        """Return the class of each image, ``(batch,)``."""
        return check_finite(self.scores(images)).argmax(1)

    def predict_proba(self, images: Tensor) -> Tensor:
        """Return the softmax of the scores, ``(batch, classes)``; summed goodness makes them overconfident."""
        return check_finite(self.scores(images)).softmax(1)

    # Helpers

    def _release(self) -> None:
        """Let go of what connections remember whose end has not run."""
        for layer in self.stack:
            if layer.tap is not None:
                layer.tap.release()

    @staticmethod
    def _objective(layer: FFLayer) -> Any:
        return layer.objective

    def _classes(self) -> int:
        if self.num_classes is None:
            raise ValueError("this network does not know its classes: FFSequential(..., num_classes=...)")
        return self.num_classes

    def _voters(self) -> slice:
        """All layers but the first, which finds the label in its input too easily, as in Hinton's program."""
        return slice(1, None) if self.paired and len(self) > 1 else slice(None)

    def _bound_head(self, head: classifiers.LinearHead | None) -> classifiers.LinearHead | None:
        if head is None:
            needed = not self.layers_classify and self.num_classes is not None
            if getattr(self.negatives, "scores", None) != "head" and not needed:
                return None
            pool = SequencePool(2) if any(layer.space == 1 for layer in self.stack) else SpatialPool(2)
            head = classifiers.LinearHead(self._classes(), pool=pool)
        head.bind(self.stack)
        return head

    def _default_classifier(self) -> Callable[[FFSequential, Tensor], Tensor]:
        return classifiers.SumOverLayers(self._voters()) if self.layers_classify else classifiers.Head()

    def _check_goodness(self) -> None:
        if self.paired and self.labels is None:
            raise ValueError("this network's goodness does not depend on labels: classify by its head")

    def _checked(self, batch: tuple[Tensor, Tensor | None]) -> tuple[Tensor, Tensor | None]:
        """Return a training batch that was found good, with labels of type int64."""
        images, labels = batch
        self._check(images, labels)
        return images, None if labels is None else labels.long()

    def _check(self, images: Tensor, labels: Tensor | None, training: bool = True) -> None:
        check_images(images, self.stack[0].reads_entries)
        if labels is not None:
            check_labels_of(images, labels, self.num_classes)
        elif training and (not self.paired or getattr(self.negatives, "needs_labels", False)):
            raise ValueError("labels must be given for this network's objectives, got None")
