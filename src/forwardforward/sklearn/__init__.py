"""Estimators of scikit-learn: a classifier, and a transformer whose output are a network's features.

They train networks of :mod:`forwardforward.recipes`, or a user's own, and work in pipelines, searches and
cross-validation. scikit-learn is part of the extra ``data``; it is imported when a name of this module is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from forwardforward._utils.extras import import_extra

if TYPE_CHECKING:
    from forwardforward.sklearn.classifier import FFClassifier
    from forwardforward.sklearn.features import FFFeatures

__all__ = ["FFClassifier", "FFFeatures"]

_MODULES = {"FFClassifier": "classifier", "FFFeatures": "features"}


def __getattr__(name: str) -> Any:
    """Import an estimator when its name is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import_extra("sklearn", f"ff.sklearn.{name}", "scikit-learn")
    return getattr(import_extra(f"{__name__}.{_MODULES[name]}", f"ff.sklearn.{name}", "scikit-learn"), name)


def __dir__() -> list[str]:
    """Return the names of the module, those that are not yet imported too."""
    return sorted({*globals(), *__all__})
