"""The base of all models: raw inputs in, classes out."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from forwardforward._utils.annotations import describe
from forwardforward._utils.arguments import NumClasses, PositiveInt, checked
from forwardforward._utils.checks import (
    check_finite,
    check_images,
    check_label_type,
    check_labels,
    label_remedy,
)
from forwardforward._utils.modes import recordable
from forwardforward._utils.plugins import calling
from forwardforward.data.batching import Data, Source, source
from forwardforward.heads import LinearHead
from forwardforward.layers import FFLayer
from forwardforward.layers.embedding import IndexLayer
from forwardforward.objectives import LocalLoss
from forwardforward.optimizers import LocalOptimizer
from forwardforward.preprocessing import Array, Preprocessing, to_float, to_tensor
from forwardforward.step import StepResult, WholeStep
from forwardforward.update_schedules import Groups

__all__ = ["Network"]

#: A function of the goodness ``(batch, layers, classes)``, or ``"head"`` for the one-pass head.
Classifier = Callable[[Tensor], Tensor] | Literal["head"]


@checked
def check_step(
    groups: Groups | None = None,
    generator: torch.Generator | None = None,
    autocast: torch.dtype | None = None,
    monitor: bool = False,
    whole_step: WholeStep | None = None,
    validate: bool = True,
) -> None:
    """Check the arguments of a user's step by their annotations; those of :func:`~forwardforward.fit` are valid."""


@checked
class Network(nn.Module):
    """Base of the models that :func:`~forwardforward.fit` trains and :func:`~forwardforward.evaluate` measures.

    A network accepts raw inputs: tensors or numpy arrays of a floating type or uint8, on any device. Its
    :class:`~forwardforward.preprocessing.Preprocessing` converts them, alike in training, evaluation and prediction.

    Args:
        preprocessing: Conversion of raw inputs; default: to floating point, without standardization.
        num_classes: Number of classes; None if it is unknown.

    Attributes:
        class_names: Names of the classes; ``fit`` takes them from the data, None if there are none.
        input_shape: Shape of one raw input; None before the setup, if it is not known from the layers.
        uses_negatives: Whether the layers compare positive with negative samples.
        layers_classify: Whether every layer classifies by its own goodness.
        head: The one-pass head, or None.
        classifier: The function from goodness to scores, or ``"head"``; None for a network that scores otherwise.

    Example:
        >>> import forwardforward as ff
        >>> issubclass(ff.FFSequential, Network)
        True
    """

    layers: nn.ModuleList
    uses_negatives: bool = False

    def __init__(self, preprocessing: Preprocessing | None = None, num_classes: NumClasses | None = None) -> None:
        super().__init__()
        self.preprocessing = Preprocessing() if preprocessing is None else copy.deepcopy(preprocessing)
        self.num_classes = num_classes
        self.class_names: tuple[str, ...] | None = None
        self.input_shape: tuple[int, ...] | None = None
        self.epochs_trained = 0
        self.head: LinearHead | None = None
        self.classifier: Classifier | None = None

    def __len__(self) -> int:
        """Return the number of layers."""
        return len(self.layers)

    @property
    def layers_classify(self) -> bool:
        """Whether every layer classifies by its own goodness."""
        return False

    @property
    def stack(self) -> list[FFLayer]:
        """The layers, in order."""
        layers = []
        for index, layer in enumerate(self.layers):
            if not isinstance(layer, FFLayer):
                raise TypeError(f"layers must be instances of FFLayer, got {type(layer).__name__} as layer {index}")
            layers.append(layer)
        return layers

    def __setattr__(self, name: str, value: Any) -> None:
        """Assign an attribute; a classifier that is a module may be replaced by a function or ``"head"``."""
        if name == "classifier" and not isinstance(value, nn.Module):
            self.__dict__.get("_modules", {}).pop(name, None)
        super().__setattr__(name, value)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a copied or pickled network, which claims its layers."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        for layer in self.stack:
            layer.claim()

    @property
    def num_embeddings(self) -> int | None:
        """Size of the table in which the first layer looks up its input, None if the input is floating."""
        first = self.stack[0]
        return first.num_embeddings if isinstance(first, IndexLayer) else None

    @property
    def is_set_up(self) -> bool:
        """Whether the shapes of all parameters are known."""
        return True

    @checked
    def setup(self, input_shape: Sequence[PositiveInt]) -> None:
        """Create the parameters and buffers that depend on the input's shape.

        Args:
            input_shape: Shape of one raw input.
        """
        self.input_shape = tuple(input_shape)
        self.preprocessing.setup(self.input_shape)

    def _check_preprocessing(self) -> None:
        """Refuse to standardize indices, which `prepare` passes on unchanged."""
        first = self.stack[0]
        if self.preprocessing.standardize and first.takes_indices:
            raise ValueError(
                "preprocessing must not standardize the inputs of a first layer that looks up indices "
                f"({type(first).__name__}), got {self.preprocessing}"
            )

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load weights, running statistics and preprocessing, as :meth:`torch.nn.Module.load_state_dict`.

        Args:
            state_dict: The state.
            strict: Whether the keys must be the network's.
            assign: Whether to assign the tensors instead of copying them.

        Raises:
            RuntimeError: If the network's shapes are not known yet, or keys or shapes differ.
        """
        if not self.is_set_up:
            raise RuntimeError(
                "the input's shape is not known yet: pass input_shape= to the network, or call model.setup(shape), "
                "before loading weights"
            )
        return super().load_state_dict(state_dict, strict=strict, assign=assign)

    def parameter_groups(self) -> Mapping[str, nn.Module]:
        """Return the modules that are updated separately, by name."""
        raise NotImplementedError

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
        """Update the network once; see the subclasses."""
        raise NotImplementedError

    def _checked_batch(
        self, batch: tuple[Tensor, Tensor | None], validate: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """Return preprocessed images without a graph to the caller's, and labels, of a training batch.

        Args:
            batch: Raw images and labels.
            validate: Whether to check the values too, which waits for the device.
        """
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            raise TypeError(f"batch must be a pair (images, labels), got {describe(batch)}")
        images, labels = batch
        prepared = self.prepare(images, validate).detach()
        if validate and self.num_embeddings is None:
            check_images(prepared)
        return prepared, None if labels is None else self.check_labels(prepared, labels, validate)

    def scores(self, images: Array) -> Tensor:
        """Return the scores of one batch, ``(batch, classes)``; the largest wins.

        Raises:
            ValueError: If the goodness or a score is NaN, or is infinite although no classifier returned it.
        """
        raise NotImplementedError

    def layer_goodness(self, images: Array) -> Tensor:
        """Return each layer's goodness of one batch under every label, ``(batch, layers, classes)``."""
        raise ValueError("this network has no local objectives, which layer_goodness needs")

    def classify(self, goodness: Tensor) -> Tensor:
        """Return the classifier's scores ``(batch, classes)`` of goodness ``(batch, layers, classes)``.

        Args:
            goodness: As :meth:`layer_goodness` returns it.

        Raises:
            ValueError: If the goodness is NaN or infinite, or the classifier's scores are NaN or of another shape.
        """
        if not callable(self.classifier):
            raise ValueError(f"classifier must be a function of the goodness, got {describe(self.classifier)}")
        with calling("classifier", self.classifier, "goodness -> scores", names_parts=True):
            scores = self.classifier(check_finite(goodness))
        if not isinstance(scores, Tensor) or scores.shape != goodness[:, 0].shape:
            got = tuple(scores.shape) if isinstance(scores, Tensor) else describe(scores)
            raise ValueError(f"classifier must return scores of shape {tuple(goodness[:, 0].shape)}, got {got}")
        if bool(scores.isnan().any()):  # infinity is a score, such as the logarithm of a probability of zero
            raise ValueError(f"classifier must return scores that are not NaN, got NaN from {self.classifier}")
        return scores

    def head_logits(self, images: Array, generator: torch.Generator | None = None) -> Tensor:
        """Return the one-pass head's logits of one batch, ``(batch, classes)``."""
        raise ValueError("this network has no head")

    def local_losses(
        self, batch: tuple[Tensor, Tensor | None], generator: torch.Generator | None = None
    ) -> list[LocalLoss]:
        """Return every layer's local loss of one batch, in evaluation mode and without an update."""
        raise ValueError("this network has no local objectives, which local_losses needs")

    def activations(self, images: Array, labels: Array | None = None) -> dict[int, Tensor]:
        """Return the output of every layer by its index."""
        raise NotImplementedError

    @property
    def device(self) -> torch.device:
        """Device of the parameters; of a pipeline's process that of its own layers, the others have no values."""
        first = next((p.device for p in self.parameters()), torch.device("cpu"))
        if first.type != "meta":
            return first
        return next((p.device for p in self.parameters() if not p.is_meta), first)

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the parameters, in which inputs are computed."""
        return next((p.dtype for p in self.parameters() if p.is_floating_point()), torch.get_default_dtype())

    def prepare(self, images: Any, validate: bool = True) -> Tensor:
        """Return raw inputs as the first layer reads them: preprocessed, in the network's dtype and on its device.

        Args:
            images: Raw inputs, ``(batch, ...)``: a tensor or numpy array, floating or uint8; whole numbers if the first
                layer looks them up in a table.
            validate: Whether to check that indices are in range and the statistics of the preprocessing fitted.

        Raises:
            TypeError: If they are of another type.
            ValueError: If they are not a batch of at least one input, indices are out of range, or the preprocessing
                standardizes and is not fitted.
        """
        raw = recordable(to_tensor(images))
        if raw.is_meta and self.device.type != "meta":
            raise ValueError("images must be a tensor with values, got one on the device 'meta'")
        if raw.dim() < 2:
            raise ValueError(
                f"images must be (batch, ...), such as image[None] for a single one, got shape {tuple(raw.shape)}"
            )
        if not len(raw):
            raise ValueError("images must contain at least one image, got none")
        if self.num_embeddings is not None:
            return self._prepare_indices(raw, self.num_embeddings, validate)
        x = to_float(raw.to(self.device)).to(self.dtype)
        if self.input_shape is None:
            self._setup_for(raw)
        if validate and not torch.compiler.is_compiling() and self.preprocessing.needs_fit:
            raise ValueError(
                "preprocessing must be fitted before the first step or prediction, as "
                "model.preprocessing.fit(training_images) and fit do, got Preprocessing(standardize=True) without "
                "statistics"
            )
        prepared: Tensor = self.preprocessing(x)
        return prepared

    def _prepare_indices(self, raw: Tensor, num_embeddings: int, validate: bool) -> Tensor:
        if raw.is_floating_point() or raw.dtype == torch.bool:
            raise TypeError(f"images must be whole numbers, which the first layer looks up, got {raw.dtype}")
        raw = raw if raw.dtype in (torch.int32, torch.int64) else raw.long()
        if validate:
            check_images(raw, num_embeddings)
        if self.input_shape is None:
            self._setup_for(raw)
        return raw.to(self.device)

    def _setup_for(self, raw: Tensor) -> None:
        with torch.inference_mode(False):  # parameters made in inference mode could not be trained
            self.setup(tuple(raw.shape[1:]))

    @contextlib.contextmanager
    def _naming_shape(self, images: Tensor) -> Iterator[None]:
        """Context manager that names the shape of images in the error of a block that does not accept them."""
        try:
            yield
        except (RuntimeError, IndexError) as error:
            got = tuple(images.shape[1:])
            if got == self.input_shape:
                raise
            raise ValueError(f"images must have shape {self.input_shape}, as those of the setup, got {got}") from error

    def check_labels(self, images: Tensor, labels: Any, validate: bool = True) -> Tensor:
        """Return class indices as int64 on the network's device.

        Args:
            images: The batch that they belong to.
            labels: One class index per image.
            validate: Whether to check that they are in range.

        Raises:
            TypeError: If they are not whole numbers.
            ValueError: If there is not one per image, or one is out of range.
        """
        plain = to_tensor(labels, "labels") if isinstance(labels, Tensor | np.ndarray) else _as_tensor(labels)
        if plain.shape != (len(images),):
            shape = tuple(plain.shape)
            remedy = label_remedy("labels", shape, len(images))
            raise ValueError(f"labels must be one per image, ({len(images)},), got {shape}{remedy}")
        check_label_type(plain)
        if validate:
            check_labels(plain, self.num_classes)
        return recordable(plain).long().to(self.device)

    # Prediction

    @checked
    def batches(self, inputs: Data, batch_size: PositiveInt = 1000) -> Source:
        """Return the batches of inputs of any supported kind, in order, on the network's device.

        Args:
            inputs: A tensor or array, :class:`~forwardforward.TensorData`, a data set or a ``DataLoader``.
            batch_size: Samples per batch.
        """
        return source(inputs, batch_size, self.device, self.dtype, self.num_embeddings, shuffle=False)

    @checked
    def predict(self, inputs: Data, batch_size: PositiveInt = 1000) -> Tensor:
        """Return the class of each input, ``(samples,)``.

        Args:
            inputs: Raw inputs: a tensor or numpy array, :class:`~forwardforward.TensorData`, a data set or a
                ``DataLoader``, whose labels are ignored.
            batch_size: Samples per batch.

        Raises:
            ValueError: If a score is NaN or infinite.
        """
        return torch.cat([scores.argmax(1) for scores in self._all_scores(inputs, batch_size)])

    @checked
    def predict_proba(self, inputs: Data, batch_size: PositiveInt = 1000) -> Tensor:
        """Return the softmax of the scores, ``(samples, classes)``; summed goodness makes them overconfident.

        Args:
            inputs: As for :meth:`predict`.
            batch_size: Samples per batch.

        Raises:
            ValueError: If a score is NaN or infinite.
        """
        return torch.cat([scores.softmax(1) for scores in self._all_scores(inputs, batch_size)])

    def _all_scores(self, inputs: Data, batch_size: int) -> Iterator[Tensor]:
        if isinstance(inputs, Tensor | np.ndarray):
            images = to_tensor(inputs)
            first = images[:1] if images.dim() > 1 else images
            self.prepare(first)  # refuses inputs of the wrong form in the same words as every other method
            for chunk in images.split(batch_size):
                yield self.scores(chunk)
        else:
            for images, _ in self.batches(inputs, batch_size).batches(None):
                yield self.scores(images)


def _as_tensor(labels: Any) -> Tensor:
    try:
        return torch.as_tensor(labels, device="cpu")
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"labels must be integers, got {describe(labels)}") from None
