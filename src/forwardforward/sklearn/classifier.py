"""The classifier for scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from forwardforward.sklearn.estimator import FFEstimator

__all__ = ["FFClassifier"]


class FFClassifier(ClassifierMixin, FFEstimator):  # type: ignore[misc]
    """A classifier of scikit-learn that trains a Forward-Forward network.

    Products are computed in the precision of ``X``, as by scikit-learn's ``MLPClassifier``: ``X.astype(np.float32)``
    halves the time of large networks.

    Args:
        recipe: Name of a recipe, with its settings for a user's own files; a :class:`~forwardforward.recipes.Recipe`,
            unchanged; or a function ``(input_shape, num_classes) -> network`` for a network of your own. Default: the
            recipe ``"mono"`` for tables, with widths (100, 100), 30 epochs, batches of 32, a learning rate of 0.003 and
            standardized features; a function is trained with these settings too.
        widths: Widths of the layers; default: the recipe's.
        epochs: Passes over the training data; default: the recipe's.
        batch_size: Samples per step; default: the recipe's.
        lr: Learning rate; default: the recipe's.
        input_shape: Shape of one input, such as ``(1, 8, 8)`` for a convolutional network; default: ``(features,)``.
        class_weight: Weights of the classes, ``"balanced"`` for weights inversely proportional to their frequencies, or
            None. Samples are drawn with replacement, with probabilities proportional to their weights, in place of a
            shuffled pass; the loss of every layer is weighted in expectation, of pair objectives too.
        validation_fraction: Share of the training samples, with equal shares of every class, that are held out and
            evaluated after each epoch, for callbacks such as :class:`~forwardforward.training.EarlyStopping` and
            recipes that choose layers.
        callbacks: Callbacks of :func:`~forwardforward.fit`.
        device: Device of the network; default: the CPU.
        random_state: Seed of weights, shuffling and sampling, or a ``RandomState``.
        verbose: Whether to show the progress.

    Attributes:
        classes_: The labels, sorted.
        model_: The network, in evaluation mode. It numbers the classes by their place in ``classes_``.
        history_: The :class:`~forwardforward.training.History` of the last call of :meth:`fit` or :meth:`partial_fit`.
        n_iter_: Number of epochs.
        n_features_in_: Number of features.

    Raises:
        TypeError: In :meth:`fit`, if an argument has the wrong kind.
        ValueError: In :meth:`fit`, if an argument is out of range, the data are refused by scikit-learn, there are
            fewer than two classes, or ``recipe`` is one for other targets or another number of classes. A call that
            fails leaves all attributes as they were.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> classifier = FFClassifier(epochs=20, random_state=0).fit(X, y)
        >>> classifier.score(X, y) > 0.9
        True
    """

    classes_: NDArray[Any]

    def fit(self, X: Any, y: Any) -> FFClassifier:
        """Train a new network.

        Args:
            X: Samples, ``(samples, features)``.
            y: Labels of any type, ``(samples,)``.
        """
        with self._all_or_nothing():
            X, y = self._validated(X, y)
            check_classification_targets(y)
            self.classes_, targets = _numbered(y)
            self._train(X, targets, self.classes_)
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> FFClassifier:
        """Train for one epoch on more samples; the first call makes the network.

        Features are standardized with the statistics of the first call. The learning rate is constant, since the number
        of calls is not known; ``epochs``, ``validation_fraction`` and ``class_weight`` have no effect.

        Args:
            X: Samples, ``(samples, features)``.
            y: Labels, ``(samples,)``.
            classes: All labels of all calls; required in the first one.

        Raises:
            ValueError: If classes are missing in the first call, differ in a later one, or do not contain a label.
        """
        first = not hasattr(self, "model_")
        with self._all_or_nothing(trains_further=not first):
            self._train_further(X, y, classes, first)
        return self

    def _train_further(self, X: Any, y: Any, classes: Any, first: bool) -> None:
        """Train for one epoch.

        Args:
            X: Samples.
            y: Labels.
            classes: All labels of all calls; None in later calls.
            first: Whether there is no network yet.
        """
        X, y = self._validated(X, y, reset=first)
        check_classification_targets(y)
        if classes is not None:
            classes = np.unique(classes)
        if first and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit, got None")
        if not first and classes is not None and not np.array_equal(classes, self.classes_):
            raise ValueError(f"classes must be those of the first call, {self.classes_}, got {classes}")
        recipe = self._settings().replace(lr_schedule=None, epochs=1)
        if (monitor := self._validation_monitor) is not None:
            raise ValueError(f"callbacks must not monitor validation data, which partial_fit has not, got {monitor}")
        inputs = self._inputs(X)
        if first:
            self.classes_ = _numbered(classes)[0]
            self._seed = self._new_seed()
            self.model_ = self._new_model(recipe, inputs, len(self.classes_), self._seed)
            self._optimizer = None
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(f"y must contain the classes {self.classes_}, got {unknown.tolist()[0]!r}")
        if self._optimizer is None:
            self._optimizer = recipe.local_optimizer()
        self.history_ = recipe.fit(
            self.model_,
            (inputs.to(self.model_.dtype), torch.from_numpy(np.searchsorted(self.classes_, y))),
            optimizer=self._optimizer,
            seed=self._seed,
            device=self.device,
            callbacks=self.callbacks,
            progress=self.verbose,
        )
        self.n_iter_ = self.model_.epochs_trained
        self.model_.eval()

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the label of each sample, ``(samples,)``.

        Args:
            X: Samples, ``(samples, features)``.
        """
        check_is_fitted(self, "model_")
        indices = self.model_.predict(self._inputs(self._validated(X, reset=False)))
        predicted: NDArray[Any] = self.classes_[indices.cpu().numpy()]
        return predicted

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Return the softmax of the scores, ``(samples, classes)``, in the order of ``classes_``.

        Args:
            X: Samples, ``(samples, features)``.
        """
        check_is_fitted(self, "model_")
        probabilities = self.model_.predict_proba(self._inputs(self._validated(X, reset=False)))
        array: NDArray[Any] = probabilities.cpu().numpy()
        return array

    def predict_log_proba(self, X: Any) -> NDArray[Any]:
        """Return the logarithms of the probabilities, ``(samples, classes)``, finite where a probability rounds to 0.

        Args:
            X: Samples, ``(samples, features)``.
        """
        check_is_fitted(self, "model_")
        scores = self.model_.scores(self._inputs(self._validated(X, reset=False)))
        array: NDArray[Any] = scores.log_softmax(-1).cpu().numpy()
        return array


def _numbered(y: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the classes, and every label as an index of them."""
    classes, targets = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"y must contain at least two classes, got {len(classes)} class")
    return classes, targets
