"""Training by several processes from the command line, with one error message for all of them."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

from forwardforward.training import Parallel, RankError
from forwardforward.training.parallel import InterruptedElsewhere

if TYPE_CHECKING:
    from forwardforward.distributed import Ranks


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
