"""Command lines of the benchmarks that have one name: `python -m benchmarks reproduce`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from benchmarks.reproduce.command import main as reproduce

USAGE = """\
python -m benchmarks reproduce [STUDY ...]    run, list and show the studies of all papers; see reproduce --help

Other benchmarks are modules of their own, such as python -m benchmarks.speed and python -m benchmarks.memory."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command.

    Args:
        arguments: Words after the program's name; default: those of the process.

    Raises:
        SystemExit: With status 2 if the command is unknown.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["reproduce"]:
        reproduce(words[1:])
    elif words and words[0] in ("-h", "--help"):
        print(USAGE)
    else:
        command = f"got {words[0]!r}" if words else "got none"
        print(f"python -m benchmarks: the command must be reproduce, {command}; see --help", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
