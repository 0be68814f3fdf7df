"""The command line: ``python -m forwardforward``, also installed as ``forwardforward``.

``forwardforward train`` trains a recipe on a data set and writes a run folder, ``predict`` classifies images, arrays or
texts with a run, ``evaluate`` evaluates a run on its test set, ``ensemble`` the average of several runs, ``doctor``
explains a bad run, and ``recipes`` lists the recipes. ``--help`` after a command lists its options.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence

from forwardforward import __version__
from forwardforward.cli import doctor, ensemble, evaluate, predict, recipes, train
from forwardforward.cli.distributed import check_one_process
from forwardforward.cli.errors import USER_ERRORS, memory_errors, short_warnings, user_message
from forwardforward.cli.options import Parser
from forwardforward.cli.streams import safe_streams
from forwardforward.training import Interrupted, reuse_freed_memory, stop_on_signals

__all__ = ["main"]


#: Environment variable that shows the traceback of every error.
TRACEBACK = "FORWARDFORWARD_TRACEBACK"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Errors are printed on one line of standard error. If the environment variable ``FORWARDFORWARD_TRACEBACK`` is set,
    they are raised with their traceback.

    Args:
        arguments: Words after the program's name; default: those of the process.

    Returns:
        Exit status: 0 for success, 1 if the reader of the output closed its end, 2 for errors caused by the user or the
        environment, 70 for an error of this library, 128 + n if signal n ended the program (130 for Ctrl-C).
    """
    with safe_streams():
        try:
            return _run(list(sys.argv[1:] if arguments is None else arguments))
        except BrokenPipeError:  # the reader has closed its end, as in `... | head`
            return 1
        except KeyboardInterrupt as error:
            number = error.number if isinstance(error, Interrupted) else signal.SIGINT
            return _fail("; ".join(map(str, error.args)) or "interrupted", 128 + number)
        except Exception as error:
            if os.environ.get(TRACEBACK):
                raise
            if isinstance(error, USER_ERRORS):
                return _fail(user_message(error), 2)
            return _fail(
                f"internal error, please report it with the traceback that {TRACEBACK}=1 shows: "
                f"{type(error).__name__}: {user_message(error)}",
                70,
            )


def _run(words: list[str]) -> int:
    options = _parser().parse_args(words, argparse.Namespace(words=words))
    reuse_freed_memory()
    with short_warnings("forwardforward"), memory_errors(options.reduce), stop_on_signals() as options.signals:
        if options.command != "train":
            check_one_process(f"{options.command} runs in one process, start it without torchrun")
        options.action(options)
    sys.stdout.flush()
    return 0


def _fail(message: str, status: int) -> int:
    print(f"forwardforward: {message}", file=sys.stderr)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="forwardforward",
        description="Train Forward-Forward networks, in which each layer is trained with its own objective.",
    )
    parser.add_argument("--version", action="version", version=f"forwardforward {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for command in (train, predict, evaluate, ensemble, doctor, recipes):
        command.add_command(commands)
    return parser
