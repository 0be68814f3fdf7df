"""``python -m forwardforward``: the command line, see :mod:`forwardforward.cli`."""

from __future__ import annotations

import sys

from forwardforward.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
