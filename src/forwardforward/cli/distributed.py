"""Training by several processes from the command line, with one error message for all of them."""

from __future__ import annotations

import contextlib
import os
import time
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

from forwardforward.training import Parallel, RankError
from forwardforward.training.parallel import InterruptedElsewhere

if TYPE_CHECKING:
    from forwardforward.distributed import Ranks

#: Seconds for which the other processes wait until torchrun ends them, after rank 0 has shown an error.
WAIT_SECONDS = 10.0


def check_one_process(remedy: str) -> None:
    """Check that torchrun has not started several processes, which would all do the same.

    Args:
        remedy: What to do instead, for the message.

    Raises:
        ValueError: If it has, in rank 0.
        SystemExit: If it has, in the other processes, with the same exit status.
    """
    if (size := _processes()) > 1:
        leave_to_rank_0()
        raise ValueError(f"torchrun started {size} processes: {remedy}")


def leave_to_rank_0() -> None:
    """Leave an error that all of torchrun's processes meet to rank 0, which shows it; only that one returns.

    Raises:
        SystemExit: In the other processes, with the exit status of a user's error.
    """
    if _processes() == 1 or os.environ.get("RANK") == "0":
        return
    with contextlib.suppress(KeyboardInterrupt):  # torchrun's signal
        time.sleep(WAIT_SECONDS)  # the first process that fails ends the others: not before rank 0 shows its message
    raise SystemExit(2)


def _processes() -> int:
    """Return the number of processes that torchrun started; other launchers, such as Slurm's, may set it too."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "TORCHELASTIC_RUN_ID" in os.environ else 1


@contextlib.contextmanager
def parallel_training(kind: str, shard: bool = False) -> Iterator[tuple[Ranks, Parallel]]:
    """Context manager of the processes that torchrun started; only one of them shows warnings and an error.

    Args:
        kind: ``"data"`` or ``"pipeline"``.
        shard: Whether each process has a part of the weights, in data-parallel training.

    Raises:
        SystemExit: In place of an error that another process shows.
    """
    from forwardforward import distributed  # a training by one process needs no import of it

    try:
        with distributed.process_group() as ranks, _one_error(ranks):
            if not ranks.is_main:
                warnings.simplefilter("ignore")
            yield ranks, distributed.DataParallel(ranks, shard) if kind == "data" else distributed.Pipeline(ranks)
    except RankError as error:
        if error.reported:
            raise SystemExit(1) from None
        raise


@contextlib.contextmanager
def _one_error(ranks: Ranks) -> Iterator[None]:
    """Context manager that ends the process without a message, if another process shows one."""
    try:
        yield
    except RankError as error:
        error.reported = error.reported or not ranks.is_first("message")
        raise
    except InterruptedElsewhere:
        raise SystemExit(1) from None
    except (Exception, KeyboardInterrupt) as error:
        ranks.report(error)
        if not ranks.is_first("message"):
            raise SystemExit(1) from None
        raise
