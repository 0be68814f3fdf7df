"""Base of the estimators: settings, conversion of data, and training."""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_class_weight

from forwardforward._utils.annotations import describe
from forwardforward._utils.arguments import NonNegativeFloat, PositiveInt, Probability, checked
from forwardforward._utils.checks import InputShapeError
from forwardforward._utils.plugins import calling
from forwardforward._utils.suggestions import did_you_mean
from forwardforward.data.batching import Data
from forwardforward.network import Network
from forwardforward.optimizers import LocalOptimizer
from forwardforward.preprocessing import to_tensor
from forwardforward.recipes import Recipe, get
from forwardforward.recipes.recipe import USER_DATA
from forwardforward.sklearn.weights import weighted_loader
from forwardforward.targets import TargetKind
from forwardforward.training import Callback, History
from forwardforward.training.monitors import Monitor

try:
    from sklearn.utils.validation import validate_data
except ImportError:  # scikit-learn before 1.6

    def validate_data(estimator: Any, X: Any, y: Any = "no_validation", **options: Any) -> Any:
        """Check data, and the number and names of their features."""
        return estimator._validate_data(X, y, **options)


__all__ = ["FFEstimator", "naming_arguments"]

F = TypeVar("F", bound=Callable[..., None])

#: The recipe of an estimator without one: a few hundred samples need more steps than a recipe for images takes.
TABLES = get("mono").replace(name="tables", widths=(100, 100), epochs=30, batch_size=32, lr=3e-3, standardize=True)

#: ``(input_shape, num_classes) -> network``.
Architecture = Callable[[tuple[int, ...], int], Network]


@checked
def check_settings(
    recipe: str | Recipe | Architecture | None,
    widths: Sequence[PositiveInt] | None,
    epochs: PositiveInt | None,
    batch_size: PositiveInt | None,
    lr: NonNegativeFloat | None,
    input_shape: Sequence[PositiveInt] | None,
    class_weight: Literal["balanced"] | Mapping[Any, float] | None,
    validation_fraction: Probability,
    callbacks: Sequence[Callback],
    device: torch.device | str | None,
    verbose: bool,
) -> None:
    """Check an estimator's settings by their annotations; scikit-learn sets them after the construction too."""


def naming_arguments(init: F) -> F:
    """Return a constructor whose errors name the estimator's class, and the argument that a misspelt one is like.

    scikit-learn reads the arguments of a constructor from its signature, which stays the same. Their values are checked
    by ``fit``.

    Args:
        init: The constructor.
    """
    signature = inspect.signature(init)

    @functools.wraps(init)
    def call(self: object, *args: Any, **kwargs: Any) -> None:
        unknown = [name for name in kwargs if name not in signature.parameters]
        if unknown:
            raise TypeError(
                f"{type(self).__name__}() got an unexpected keyword argument {unknown[0]!r}"
                f"{did_you_mean(unknown[0], signature.parameters)}"
            )
        try:
            signature.bind(self, *args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{type(self).__name__}(): {error}") from None
        init(self, *args, **kwargs)

    return cast(F, call)


class FFEstimator(BaseEstimator):  # type: ignore[misc]
    """Base of the estimators; see :class:`FFClassifier` for the arguments."""

    model_: Network
    history_: History
    n_iter_: int
    _optimizer: LocalOptimizer | None

    @naming_arguments
    def __init__(
        self,
        recipe: str | Recipe | Architecture | None = None,
        *,
        widths: Sequence[int] | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        lr: float | None = None,
        input_shape: Sequence[int] | None = None,
        class_weight: Literal["balanced"] | Mapping[Any, float] | None = None,
        validation_fraction: float = 0.0,
        callbacks: Sequence[Callback] = (),
        device: torch.device | str | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
    ) -> None:
        self.recipe = recipe
        self.widths = widths
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.input_shape = input_shape
        self.class_weight = class_weight
        self.validation_fraction = validation_fraction
        self.callbacks = callbacks
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @contextlib.contextmanager
    def _all_or_nothing(self, trains_further: bool = False) -> Iterator[None]:
        """Context manager that restores all attributes if a training is refused or fails.

        Args:
            trains_further: Whether the training changes the network that the estimator has.
        """
        before = dict(self.__dict__)
        if trains_further:
            before["model_"], before["_optimizer"] = copy.deepcopy((self.model_, self._optimizer))
        try:
            yield
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    def _settings(self) -> Recipe:
        """Return the recipe with the estimator's settings."""
        settings = self.get_params(deep=False)
        del settings["random_state"]  # scikit-learn checks it
        check_settings(**{name: settings[name] for name in check_settings.__annotations__ if name != "return"})
        changes = {name: settings[name] for name in ("widths", "epochs", "batch_size", "lr")}
        changes = {name: value for name, value in changes.items() if value is not None}
        if self.widths is not None:
            changes["widths"] = tuple(self.widths)
            if self._architecture is not None:
                raise ValueError(f"widths must be None with a function as recipe, got {self.widths}")
        recipe = TABLES
        if isinstance(self.recipe, Recipe):
            recipe = self.recipe
        elif isinstance(self.recipe, str):
            recipe = get(self.recipe).for_dataset(USER_DATA)
        if recipe.representation is not None:
            raise ValueError(f"recipe must be one for arrays, got {recipe.name}, which reads texts")
        _check_kind(recipe.target_kind, recipe.name)
        return recipe.replace(**changes)

    @property
    def _architecture(self) -> Architecture | None:
        return self.recipe if callable(self.recipe) else None

    def _validated(self, X: Any, y: Any = "no_validation", reset: bool = True) -> Any:
        """Return X as an array of floating-point numbers, with y if it is given."""
        return validate_data(self, X, y, reset=reset, dtype=(np.float64, np.float32))

    def _inputs(self, X: NDArray[Any]) -> torch.Tensor:
        """Return rows as inputs of the network."""
        rows = to_tensor(X, "X")
        if self.input_shape is None:
            return rows
        shape = tuple(self.input_shape)
        if rows.shape[1] != np.prod(shape):
            raise ValueError(f"input_shape must have {rows.shape[1]} values, one per feature of X, got {shape}")
        return rows.view(-1, *shape)

    def _new_model(self, recipe: Recipe, inputs: torch.Tensor, num_classes: int, seed: int) -> Network:
        """Return a new network in the precision of the inputs; the caller's random state is unchanged."""
        shape = tuple(inputs.shape[1:])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            if self._architecture is None:
                model = self._recipe_model(recipe, shape, num_classes)
            else:
                with calling("recipe", self.recipe, "(input_shape, num_classes) -> network", names_parts=True):
                    model = self._architecture(shape, num_classes)
                if not isinstance(model, Network):
                    raise TypeError(f"recipe must return a network, such as an FFSequential, got {describe(model)}")
                if not model.is_set_up:
                    model.setup(shape)
                _check_kind(model.target_kind, "a network")
                if model.num_classes not in (None, num_classes):
                    raise ValueError(
                        f"recipe must return a network of num_classes={num_classes} classes, got one of "
                        f"{model.num_classes}"
                    )
            return model.to(dtype=inputs.dtype)

    def _recipe_model(self, recipe: Recipe, shape: tuple[int, ...], num_classes: int) -> Network:
        """Return the network of a recipe; if it needs images, the error gives the argument for their shape."""
        try:
            return recipe.model(shape, num_classes)
        except InputShapeError as error:
            if self.input_shape is not None:
                raise
            raise ValueError(f"{error}: pass input_shape={_image_shape(*shape)}, the shape of one row of X") from error

    @property
    def _validation_monitor(self) -> str | None:
        """The first callback that monitors validation data, in words; None if there is none."""
        for callback in self.callbacks:
            monitor = getattr(callback, "monitor", None)
            if isinstance(monitor, Monitor) and monitor.needs_validation:
                return f"{type(callback).__name__} of {monitor.name!r}"
        return None

    def _train(self, X: NDArray[Any], targets: NDArray[Any] | None, classes: NDArray[Any]) -> None:
        """Train a new network.

        Args:
            X: Rows.
            targets: Class indices; None without labels.
            classes: The classes.
        """
        recipe = self._settings()
        if not self.validation_fraction and (monitor := self._validation_monitor) is not None:
            raise ValueError(f"validation_fraction must be above 0 for {monitor}, got {self.validation_fraction}")
        self._seed = seed = self._new_seed()
        train, held_out = self._divided(self._inputs(X), targets, seed)
        self.model_ = self._new_model(recipe, train[0], max(2, len(classes)), seed)
        self.history_ = recipe.fit(
            self.model_,
            self._weighted(train, classes, recipe.batch_size),
            validation=held_out,
            seed=seed,
            device=self.device,
            callbacks=self.callbacks,
            progress=self.verbose,
        )
        self.n_iter_ = len(self.history_)
        self.model_.eval()
        self._optimizer = None

    def _new_seed(self) -> int:
        try:
            generator = check_random_state(self.random_state)
        except ValueError:
            raise ValueError(
                "random_state must be None, a whole number from 0 to 2^32 - 1 or a numpy RandomState, "
                f"got {describe(self.random_state)}"
            ) from None
        return int(generator.randint(2**31 - 1))

    def _divided(self, inputs: torch.Tensor, targets: NDArray[Any] | None, seed: int) -> tuple[Any, Any]:
        """Return the training samples and, if there are any, the validation samples."""
        labels = None if targets is None else torch.from_numpy(targets)
        if not self.validation_fraction:
            return (inputs, labels), None
        if targets is None or labels is None:
            raise ValueError(f"validation_fraction must be 0 without labels, got {self.validation_fraction}")
        try:
            train, held_out = train_test_split(
                np.arange(len(inputs)), test_size=self.validation_fraction, stratify=targets, random_state=seed
            )
        except ValueError as error:
            raise ValueError(
                f"validation_fraction must leave samples of every class on both sides, got {self.validation_fraction} "
                f"of {len(inputs)} samples: {error}"
            ) from error
        return (inputs[train], labels[train]), (inputs[held_out], labels[held_out])

    def _weighted(
        self, train: tuple[torch.Tensor, torch.Tensor | None], classes: NDArray[Any], batch_size: int
    ) -> Data:
        """Return the training samples, drawn by their class weights if there are any."""
        inputs, targets = train
        if self.class_weight is None:
            return inputs if targets is None else (inputs, targets)
        if targets is None:
            raise ValueError(f"class_weight must be None without labels, got {describe(self.class_weight)}")
        weights = compute_class_weight(self.class_weight, classes=classes, y=classes[targets.numpy()])
        if not (weights >= 0).all() or not weights.any():
            raise ValueError(f"class_weight must contain weights of at least 0, not all 0, got {self.class_weight}")
        return weighted_loader(inputs, targets, torch.from_numpy(weights)[targets], batch_size)


def _image_shape(features: int) -> str:
    """Return the shape of square images of one or three channels as an example, else what a shape consists of."""
    for channels in (1, 3):
        side = math.isqrt(features // channels)
        if channels * side**2 == features:
            return str((channels, side, side))
    return "(channels, height, width)"


def _check_kind(kind: TargetKind, owner: str) -> None:
    """Refuse targets other than one class per sample."""
    if not kind.has_one_class:
        raise ValueError(f"recipe must be one for one class per sample, got {owner} of targets {kind!r}")
