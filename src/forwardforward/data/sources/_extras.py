"""Optional packages, loaded by the source that needs them."""

from __future__ import annotations

import importlib
from typing import Any


def import_extra(module: str, data_set: str, package: str, extra: str) -> Any:
    """The module, or an ``ImportError`` that says what to install."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f'the data set {data_set!r} needs {package}: pip install "forwardforward[{extra}]"'
        ) from error
