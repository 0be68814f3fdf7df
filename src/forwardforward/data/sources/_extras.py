"""Import of optional packages by the data sources that need them."""

from __future__ import annotations

from typing import Any

from forwardforward._utils import extras


def import_extra(module: str, data_set: str, package: str, extra: str) -> Any:
    """Import a module of an optional package.

    Args:
        module: Full name of the module.
        data_set: Name of the data set that needs it.
        package: Name of the package, for the error message.
        extra: The extra of this library that installs the package.

    Raises:
        ImportError: If the package is not installed.
    """
    return extras.import_extra(module, f"the data set {data_set!r}", package, extra)
