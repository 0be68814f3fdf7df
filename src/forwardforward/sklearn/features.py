"""The transformer for scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from forwardforward._utils.arguments import checked
from forwardforward.heads import LinearHead
from forwardforward.recipes import Recipe
from forwardforward.sklearn.estimator import Architecture, FFEstimator, naming_arguments
from forwardforward.training import Callback

__all__ = ["FFFeatures"]


@checked
def check_layers(layers: Sequence[int] | None) -> None:
    """Check the argument ``layers`` by its annotation."""


class FFFeatures(ClassNamePrefixFeaturesOutMixin, TransformerMixin, FFEstimator):  # type: ignore[misc]
    """A transformer of scikit-learn whose output are the features of a Forward-Forward network.

    The features are those that a one-pass head reads: the normalized outputs of the layers, maps and sequences pooled
    first, see :class:`~forwardforward.heads.LinearHead`.

    Args:
        recipe: As for :class:`FFClassifier`; a recipe that needs no labels, such as ``"unsupervised"``, is trained
            without ``y``.
        layers: Indices of the layers whose features are joined; default: all but the first (of a single layer, that
            layer).
        **options: All other arguments are those of :class:`FFClassifier`.

    Attributes:
        model_: The network, in evaluation mode.
        history_: The :class:`~forwardforward.training.History` of the training.
        n_iter_: Number of epochs.
        n_features_in_: Number of features of ``X``.

    Raises:
        TypeError: In :meth:`fit`, if an argument has the wrong kind.
        ValueError: In :meth:`fit`, as :class:`FFClassifier`, or if the network has no such layer.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.linear_model import LogisticRegression
        >>> from sklearn.pipeline import make_pipeline
        >>> X, y = load_iris(return_X_y=True)
        >>> pipeline = make_pipeline(FFFeatures(epochs=10, random_state=0), LogisticRegression(max_iter=1000))
        >>> pipeline.fit(X, y).score(X, y) > 0.9
        True
    """

    @naming_arguments
    def __init__(
        self,
        recipe: str | Recipe | Architecture | None = None,
        *,
        layers: Sequence[int] | None = None,
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
        super().__init__(
            recipe,
            widths=widths,
            epochs=epochs,
            batch_size=batch_size,
            lr=lr,
            input_shape=input_shape,
            class_weight=class_weight,
            validation_fraction=validation_fraction,
            callbacks=callbacks,
            device=device,
            random_state=random_state,
            verbose=verbose,
        )
        self.layers = layers

    def fit(self, X: Any, y: Any = None) -> FFFeatures:
        """Train a new network.

        Args:
            X: Samples, ``(samples, features)``.
            y: Labels, ``(samples,)``; None for a recipe that needs none.
        """
        check_layers(self.layers)
        targets, classes = None, np.arange(2)
        with self._all_or_nothing():
            if y is None and not self._needs_labels:
                X = self._validated(X)
            else:
                X, y = self._validated(X, y)
                check_classification_targets(y)
                classes, targets = np.unique(y, return_inverse=True)
            self._train(X, targets, classes)
            self._n_features_out = self._features(self._inputs(X[:1])).shape[1]
        return self

    def transform(self, X: Any) -> NDArray[Any]:
        """Return the features of each sample, ``(samples, features)``.

        Args:
            X: Samples, ``(samples, features)``.
        """
        check_is_fitted(self, "model_")
        inputs = self._inputs(self._validated(X, reset=False))
        features: NDArray[Any] = torch.cat([self._features(part) for part in inputs.split(1000)]).cpu().numpy()
        return features

    @torch.no_grad()
    def _features(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs = self.model_.activations(inputs)
        depth = len(outputs)
        if self.layers is None:
            indices = self._head.indices(depth)
        else:
            unknown = [index for index in self.layers if not -depth <= index < depth]
            if unknown or not len(self.layers):
                raise ValueError(f"layers must be indices of the {depth} layers, got {list(self.layers)}")
            indices = [index % depth for index in self.layers]
        return self._head.read({index: self._head.rows(outputs[index]) for index in indices})

    @property
    def _head(self) -> LinearHead:
        return LinearHead(2)  # for its choice of layers, pools and normalization

    @property
    def _needs_labels(self) -> bool:
        """Whether the recipe's network needs labels; of a network of the user's own, assumed."""
        if self._architecture is not None:
            return True
        negatives = self._settings().negatives
        return negatives is None or negatives.needs_labels or negatives.scores is not None

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: labels are required, unless the recipe needs none."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = self._needs_labels
        return tags

    def _more_tags(self) -> dict[str, bool]:
        """Return the same for scikit-learn before 1.6."""
        return {"requires_y": self._needs_labels}
