"""Training by several processes, on one machine or several, with :mod:`torch.distributed`.

Every process runs the same script, started by torchrun, and passes the distribution to :func:`~forwardforward.fit`::

    with ff.distributed.process_group() as ranks:
        ff.fit(model, data.train, parallel=ff.distributed.DataParallel(ranks))
"""

from forwardforward.distributed.balance import balanced_runs, layer_seconds
from forwardforward.distributed.data_parallel import DataParallel
from forwardforward.distributed.group import process_group
from forwardforward.distributed.pipeline import Pipeline
from forwardforward.distributed.ranks import Message, Ranks

__all__ = ["DataParallel", "Message", "Pipeline", "Ranks", "balanced_runs", "layer_seconds", "process_group"]
