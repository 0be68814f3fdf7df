"""The base of all models: raw inputs in, classes out."""

from __future__ import annotations

import contextlib
import copy
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

import forwardforward
from forwardforward._utils.annotations import describe
from forwardforward._utils.arguments import PositiveInt, StrPath, checked
from forwardforward._utils.checks import check_device, check_finite, check_images
from forwardforward._utils.modes import recordable
from forwardforward._utils.plugins import calling
from forwardforward.classifiers import WithHead
from forwardforward.data.batching import Data, Source, source
from forwardforward.heads import LinearHead
from forwardforward.layers import FFLayer
from forwardforward.objectives import LocalLoss
from forwardforward.optimizers import LocalOptimizer
from forwardforward.preprocessing import Array, Preprocessing, to_float, to_tensor
from forwardforward.saving.folder import Saved, read, write
from forwardforward.saving.hub import download, is_hub_name, upload
from forwardforward.step import StepResult, WholeStep
from forwardforward.targets import ClassIndices, RealValues, TargetKind, TargetScaling
from forwardforward.update_schedules import Groups
from forwardforward.views import Views, mean_over_views

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Network"]

#: A function of the goodness ``(batch, layers, classes)``, ``"head"`` for the one-pass head, or both.
Classifier = Callable[[Tensor], Tensor] | WithHead | Literal["head"]


@checked
class Network(nn.Module):
    """Base of the models that :func:`~forwardforward.fit` trains and :func:`~forwardforward.evaluate` measures.

    A network accepts raw inputs: tensors or numpy arrays of a floating type or uint8, on any device. Its
    :class:`~forwardforward.preprocessing.Preprocessing` converts them, alike in training, evaluation and prediction.

    Args:
        preprocessing: Conversion of raw inputs; default: to floating point, without standardization.
        num_classes: Number of classes; None if it is unknown.
        views: Views of an image whose scores are averaged in classification, see :mod:`forwardforward.views`; default:
            the image alone.

    Attributes:
        class_names: Names of the classes; ``fit`` takes them from the data, None if there are none.
        card: Facts for the model card, such as data, recipe and errors; a run sets them. Strings, numbers and lists.
        input_shape: Shape of one raw input; None before the setup, if it is not known from the layers.
        uses_negatives: Whether the layers compare positive with negative samples.
        layers_classify: Whether every layer classifies by its own goodness.
        head: The one-pass head, or None.
        classifier: The function from goodness to scores, or ``"head"``; None for a network that scores otherwise.
        target_kind: The targets that the network is trained on, see :mod:`forwardforward.targets`.
        target_scaling: Scaling of real-valued targets; None for other kinds.

    Example:
        >>> import forwardforward as ff
        >>> issubclass(ff.FFSequential, Network)
        True
    """

    layers: nn.ModuleList
    uses_negatives: bool = False
    target_kind: TargetKind = ClassIndices()

    def __init__(
        self,
        preprocessing: Preprocessing | None = None,
        num_classes: PositiveInt | None = None,
        views: Views | None = None,
    ) -> None:
        super().__init__()
        self.views = copy.deepcopy(views)
        self.preprocessing = Preprocessing() if preprocessing is None else copy.deepcopy(preprocessing)
        self.num_classes = num_classes
        self.class_names: tuple[str, ...] | None = None
        self.input_shape: tuple[int, ...] | None = None
        self.epochs_trained = 0
        self.card: dict[str, Any] = {}
        self.head: LinearHead | None = None
        self.classifier: Classifier | None = None
        self.target_scaling: TargetScaling | None = None

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
        return self.stack[0].num_embeddings

    @property
    def is_set_up(self) -> bool:
        """Whether the shapes of all parameters are known."""
        return True

    @property
    def needs_fit(self) -> bool:
        """Whether the preprocessing or the first layer has to be fitted to training data, as ``fit`` does first."""
        return self.preprocessing.needs_fit or any(layer.needs_fit for layer in self.stack[:1])

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
        if self.preprocessing.fitted is not None and self.num_embeddings is not None:
            verb = "standardize" if self.preprocessing.standardize else "change"
            raise ValueError(
                f"preprocessing must not {verb} the inputs of a first layer that looks up indices "
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
        if labels is None:
            return prepared, None
        targets = self.check_targets(prepared, labels, validate)
        scaling = self.target_scaling
        if scaling is None:
            return prepared, targets
        if validate and not torch.compiler.is_compiling() and scaling.needs_fit:
            raise ValueError(
                "target_scaling must be fitted before the first step, as model.target_scaling.fit(training_targets) "
                "and fit do, got a TargetScaling without statistics; model.target_scaling.fit(torch.tensor([-1.0, "
                "1.0])) keeps the unit of the targets"
            )
        return prepared, scaling(targets)

    def _mean_over_views(self, images: Array, function: Callable[[Array], Tensor]) -> Tensor:
        """Return the mean of a function of raw images over their views."""
        return function(images) if self.views is None else mean_over_views(self.views, to_tensor(images), function)

    def scores(self, images: Array) -> Tensor:
        """Return the scores of one batch, ``(batch, classes)``; the largest wins.

        Raises:
            ValueError: If the goodness or a score is NaN, or is infinite although no classifier returned it.
        """
        raise NotImplementedError

    def layer_goodness(self, images: Array) -> Tensor:
        """Return each layer's goodness of one batch under every label, ``(batch, layers, classes)``."""
        raise ValueError("this network has no local objectives, which layer_goodness needs")

    def classify(self, goodness: Tensor, logits: Tensor | None = None) -> Tensor:
        """Return the classifier's scores ``(batch, classes)`` of goodness ``(batch, layers, classes)``.

        Args:
            goodness: As :meth:`layer_goodness` returns it.
            logits: As :meth:`head_logits` returns them, for a :class:`~forwardforward.classifiers.WithHead`.

        Raises:
            ValueError: If the goodness is NaN or infinite, or the classifier's scores are NaN or of another shape.
        """
        if not callable(self.classifier):
            raise ValueError(f"classifier must be a function of the goodness, got {describe(self.classifier)}")
        with calling("classifier", self.classifier, "goodness -> scores", names_parts=True):
            arguments = (logits,) if isinstance(self.classifier, WithHead) else ()
            scores = self.classifier(check_finite(goodness), *arguments)
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
                f"model.preprocessing.fit(training_images) and fit do, got {self.preprocessing} without statistics"
            )
        prepared: Tensor = self.preprocessing(x)
        return prepared

    def _prepare_indices(self, raw: Tensor, num_embeddings: int, validate: bool) -> Tensor:
        if raw.is_floating_point() or raw.dtype == torch.bool:
            raise TypeError(f"images must be whole numbers, which the first layer looks up, got {raw.dtype}")
        raw = raw if raw.dtype in (torch.int32, torch.int64) else raw.long()
        if validate:
            check_images(raw, num_embeddings)
            if not torch.compiler.is_compiling() and self.stack[0].needs_fit:
                raise ValueError("the weighting of the first layer must be fitted before the first step, as fit does")
        if self.input_shape is None:
            self._setup_for(raw)
        return raw.to(self.device)

    def _setup_for(self, raw: Tensor) -> None:
        with torch.inference_mode(False):  # parameters made in inference mode could not be trained
            self.setup(tuple(raw.shape[1:]))

    @contextlib.contextmanager
    def naming_shape(self, images: Array) -> Iterator[None]:
        """Context manager that names the shape of raw images in the error of a block that does not accept them."""
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
        return self._checked(ClassIndices(), images, labels, validate)

    def check_targets(self, images: Tensor, targets: Any, validate: bool = True) -> Tensor:
        """Return targets in the form that the objectives use, on the network's device.

        Args:
            images: The batch that they belong to.
            targets: Targets of the kind :attr:`target_kind`.
            validate: Whether to check their values.

        Raises:
            TypeError: If they have another dtype.
            ValueError: If they have another shape, or a value is out of range.
        """
        return self._checked(self.target_kind, images, targets, validate)

    def _checked(self, kind: TargetKind, images: Tensor, targets: Any, validate: bool) -> Tensor:
        is_array = isinstance(targets, Tensor | np.ndarray)
        plain = to_tensor(targets, "labels") if is_array else _as_tensor(targets)
        checked = kind.check(plain, len(images), self.num_classes, validate)
        dtype = torch.promote_types(self.dtype, torch.float32)  # as goodness and losses
        return recordable(checked).to(self.device, dtype if checked.is_floating_point() else None)

    def _set_target_kind(self, kind: TargetKind) -> None:
        """Set the kind of the targets, and what it needs."""
        self.target_kind = kind
        self.target_scaling = TargetScaling() if isinstance(kind, RealValues) else None

    def _setup_scaling(self) -> None:
        """Give the scaling the shape of one target, when the number of values is known."""
        if self.target_scaling is not None and self.num_classes is not None:
            self.target_scaling.setup(self.target_kind.example(torch.zeros(1, self.num_classes)).shape[1:])

    # Saving

    def for_prediction(self) -> Self:
        """Return a copy in evaluation mode without the weights that only training reads, for a smaller file.

        Those are the weights of losses over embeddings, such as supervised contrast beside a goodness. The copy's
        scores are the same; if it is trained further, the remaining objectives are minimized.

        Example:
            >>> import forwardforward as ff
            >>> model = ff.recipes.get("whitened-small").model((3, 32, 32), num_classes=10)
            >>> [sum(p.numel() for p in network.parameters()) for network in (model, model.for_prediction())]
            [1161104, 495776]
        """
        model = copy.deepcopy(self).eval()
        for layer in model.stack:
            if layer.objective is not None:
                layer.objective = layer.objective.for_prediction()
        return model

    @checked
    def save_pretrained(self, folder: StrPath, *, dtype: torch.dtype | None = None) -> None:
        """Write weights, configuration and model card to a folder that :meth:`from_pretrained` reads.

        ``config.json`` contains the constructor calls of the network, its layers, plug-ins and preprocessing, with the
        names of the classes; ``model.safetensors`` the weights and running statistics; ``README.md`` the model card,
        with the rows of :attr:`card`. The model is built again from the configuration to check that nothing is lost.

        Args:
            folder: The folder, made if it does not exist. Files of a model that was saved there before are replaced,
                apart from a card that was edited.
            dtype: Precision of the stored weights, such as ``torch.float16``, which halves the file. The loaded model
                computes in the precision of this one. Default: this model's precision.

        Raises:
            FileExistsError: If the folder contains files of these names that are not of a saved model.
            ValueError: If the shapes are not known yet, a plug-in cannot be described, such as a lambda, ``dtype`` is
                not a floating type of saved models, or a weight exceeds its range.
        """
        if not self.is_set_up:
            raise ValueError("the input's shape must be known to save a model: call model.setup(shape), or fit it")
        saved = Saved(self.class_names, self.epochs_trained, self.card)
        write(self, Path(folder), saved, dtype, forwardforward.__version__)

    @classmethod
    @checked
    def from_pretrained(
        cls,
        source: StrPath,
        *,
        plugins: Sequence[Callable[..., Any]] = (),
        device: torch.device | str = "cpu",
        revision: str | None = None,
    ) -> Self:
        """Return a model that was saved by :meth:`save_pretrained`, in evaluation mode.

        Nothing in the files is executed or unpickled: only names of this library's modules, of torch's usual modules
        and of ``plugins`` are resolved.

        Args:
            source: The folder, or a name on the Hugging Face hub, such as ``"user/name"``.
            plugins: Your own classes and functions that are part of the model.
            device: Device of the model.
            revision: Branch, tag or commit on the hub; default: the newest.

        Raises:
            FileNotFoundError: If there is no such folder or model.
            ValueError: If the files are corrupted or of something else, name a class that is not passed in ``plugins``,
                or contain a model of another class than this one.
            ImportError: If the name is on the hub and huggingface_hub is not installed.

        Example:
            >>> import tempfile
            >>> import forwardforward as ff
            >>> model = ff.FFSequential(
            ...     ff.FFLinear(8, 6), goodness=ff.goodness.LearnedProjection(3), loss=ff.losses.CrossEntropy()
            ... )
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     model.save_pretrained(folder)
            ...     loaded = ff.FFSequential.from_pretrained(folder)
            >>> images = torch.rand(5, 8)
            >>> bool((loaded.predict(images) == model.predict(images)).all())
            True
        """
        check_device(device)
        folder = Path(source)
        if not folder.is_dir() and is_hub_name(str(source)):
            folder = download(str(source), revision)
        elif revision is not None:
            raise ValueError(f"revision must be left out for a folder, got {revision!r}")
        model, saved = read(folder, plugins)
        if not isinstance(model, cls):
            raise ValueError(f"{folder} must contain a model of the class {cls.__name__}, got {type(model).__name__}")
        model.class_names, model.epochs_trained, model.card = saved.class_names, saved.epochs_trained, dict(saved.card)
        return model.to(device)

    @checked
    def push_to_hub(
        self,
        name: str,
        *,
        dtype: torch.dtype | None = None,
        private: bool = False,
        message: str = "Upload a model of forwardforward",
    ) -> str:
        """Upload the files of :meth:`save_pretrained` to the Hugging Face hub, and return the model's address.

        The token is that of ``huggingface_hub``, as ``hf auth login`` stores it.

        Args:
            name: Name on the hub, such as ``"user/name"``; the repository is made if it does not exist.
            dtype: Precision of the stored weights, as for :meth:`save_pretrained`.
            private: Whether a new repository is private.
            message: Message of the commit.

        Raises:
            ImportError: If huggingface_hub is not installed.
            ConnectionError: If the hub refuses the upload.
            ValueError: As :meth:`save_pretrained`.
        """
        if not is_hub_name(name):
            raise ValueError(f"name must be 'user/name', got {name!r}")
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, dtype=dtype)
            return upload(Path(folder), name, private, message)

    # Prediction

    def decide(self, scores: Tensor) -> Tensor:
        """Return the predictions of scores: classes, labels or values in the units of the targets.

        Args:
            scores: ``(..., classes)``.
        """
        decisions = self.target_kind.decide(scores)
        return decisions if self.target_scaling is None else self.target_scaling.inverse(decisions)

    def predictions(self, scores: Tensor) -> Tensor:
        """Return the predictions of scores as :meth:`predict` does: a single real value per sample is one number.

        Args:
            scores: ``(..., classes)``.
        """
        decisions = self.decide(scores)
        is_single_value = isinstance(self.target_kind, RealValues) and decisions.shape == (*scores.shape[:-1], 1)
        return decisions.squeeze(-1) if is_single_value else decisions

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
        """Return the prediction of each input: its class, ``(samples,)``, for class indices and probabilities.

        Of several labels it is whether each label applies, ``(samples, labels)``; of real values the values in the
        units of the targets, ``(samples,)`` or ``(samples, values)``.

        Args:
            inputs: Raw inputs: a tensor or numpy array, :class:`~forwardforward.TensorData`, a data set or a
                ``DataLoader``, whose labels are ignored.
            batch_size: Samples per batch.

        Raises:
            ValueError: If a score is NaN or infinite.
        """
        return torch.cat([self.predictions(scores) for scores in self._all_scores(inputs, batch_size)])

    @checked
    def predict_proba(self, inputs: Data, batch_size: PositiveInt = 1000) -> Tensor:
        """Return the softmax of the scores, ``(samples, classes)``; summed goodness makes them overconfident.

        Of several labels it is the sigmoid of each score; of real values the probability of each bin, if the loss has
        bins.

        Args:
            inputs: As for :meth:`predict`.
            batch_size: Samples per batch.

        Raises:
            ValueError: If a score is NaN or infinite.
        """
        probabilities = self.target_kind.probabilities
        return torch.cat([probabilities(scores) for scores in self._all_scores(inputs, batch_size)])

    def _all_scores(self, inputs: Data, batch_size: int) -> Iterator[Tensor]:
        if isinstance(inputs, Tensor | np.ndarray):
            images = to_tensor(inputs)
            if images.dim() < 2:
                self.prepare(images)  # refuses them in the same words as every other method
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
