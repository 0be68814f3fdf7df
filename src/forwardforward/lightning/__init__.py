"""Training with the ``Trainer`` of Lightning.

Lightning is an extra, ``lightning``; it is imported when a name of this module is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from forwardforward._utils.extras import import_extra

if TYPE_CHECKING:
    from forwardforward.lightning.module import FFModule

__all__ = ["FFModule"]


def __getattr__(name: str) -> Any:
    """Import a name when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import_extra("lightning", f"ff.lightning.{name}", "lightning")
    return getattr(import_extra(f"{__name__}.module", f"ff.lightning.{name}", "lightning"), name)


def __dir__() -> list[str]:
    """Return the names of the module, those that are not yet imported too."""
    return sorted({*globals(), *__all__})
