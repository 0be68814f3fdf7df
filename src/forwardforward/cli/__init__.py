"""The command line: ``forwardforward train``, ``evaluate`` and ``recipes``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from forwardforward.cli.errors import CommandError
from forwardforward.cli.parser import make_parser

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: The words behind the program's name; those of the process unless given.

    Returns:
        0; 2 where one line on standard error says what was wrong; 130 after an interruption.
    """
    try:
        options = make_parser().parse_args(arguments)
        options.run(options)
    except CommandError as error:
        print(f"forwardforward: {error}", file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        print("forwardforward: interrupted", file=sys.stderr)
        return 130
    return 0
