"""Data-parallel training: each process computes a part of every batch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from forwardforward._utils.arguments import checked
from forwardforward._utils.shards import is_sharded, whole
from forwardforward._utils.shared_batch import shared_batch
from forwardforward.data.batching import Data, Source, tensors_of
from forwardforward.data.tensors import batch_slices
from forwardforward.distributed.checks import check_divisible, check_kind, check_loss_finite, data_settings
from forwardforward.distributed.ranks import Message, Ranks
from forwardforward.distributed.stream import rank_draws
from forwardforward.network import Network
from forwardforward.objectives import LocalLoss
from forwardforward.optimizers import LocalOptimizer
from forwardforward.sequential import FFSequential
from forwardforward.step import StepResult
from forwardforward.training import Evaluation
from forwardforward.training.parallel import Parallel

if TYPE_CHECKING:
    from forwardforward.distributed.sharding import ShardedGradients, ShardedLayers

__all__ = ["DataParallel"]

#: Flags of the processes that are sent with the gradients of each layer.
FLAGS = ("stop", "checkpoint")

#: Steps between checks of the figures, which wait for the device.
CHECK_EVERY = 16


@checked
class DataParallel(Parallel):
    r"""Data-parallel training: each process computes a part of every batch, and all update equal copies of the network.

    With :math:`n_r` of the :math:`n` samples on rank :math:`r` and the local loss :math:`L_{l,r}` of layer :math:`l`
    on them, every process updates layer :math:`l` by :math:`\sum_r \frac{n_r}{n} \nabla L_{l,r}`, the gradient of one
    process on the whole batch. The gradients of a layer are one message, which is sent while the next layer is
    computed.

    Every process reads the whole data set and the whole batch, and draws the random numbers of the whole batch: the
    negatives of a sample do not depend on the number of processes. Statistics of the batch, those of
    :class:`~forwardforward.normalization.BatchNorm` and
    :class:`~forwardforward.normalization.PeerNormalization`, are those of the whole batch. Only rank 0 evaluates,
    writes checkpoints and shows progress; a run resumes with any number of processes.

    Random numbers that blocks draw, such as those of ``nn.Dropout``, are equal in distribution only.

    With ``shard``, each process has a part of the parameters, gradients and optimizer states of each layer, as torch's
    ``fully_shard`` divides them. A layer's parameters are gathered before it runs and freed after its backward pass, so
    that no process has those of more than one layer at a time. After the training, :meth:`collect` gathers all. All
    processes evaluate together.

    Args:
        ranks: The processes.
        shard: Whether to shard the layers' parameters; those of the head and of a learned label encoder are not.

    Raises:
        ValueError: In ``fit``, if the training cannot be divided: ``compile=True``, a baseline, a loss that is not a
            mean over the samples (such as :class:`~forwardforward.losses.SupervisedContrastive`), batch normalization
            of torch, another part of a layer whose output or buffers depend on the other samples of the batch,
            micro-batches, fewer samples in a batch than processes, or arguments that differ between
            processes. With ``shard`` also an old torch such as 2.6, callbacks that need all weights (``EarlyStopping``,
            ``GrowNetwork``, ``WeightAverage``, ``TensorBoardLog``), and optimizers that torch does not support for
            sharded parameters, such as ``torch.optim.SGD`` with ``fused=True``.

    Example:
        >>> import forwardforward as ff
        >>> model = ff.FFSequential(
        ...     ff.FFLinear(8, 6), goodness=ff.goodness.LearnedProjection(2), loss=ff.losses.CrossEntropy()
        ... )
        >>> data = torch.rand(20, 8), torch.arange(20) % 2
        >>> with ff.distributed.process_group() as ranks:  # a script for torchrun
        ...     history = ff.fit(model, data, epochs=1, progress=False, parallel=DataParallel(ranks))
    """

    def __init__(self, ranks: Ranks, shard: bool = False) -> None:
        self.ranks = ranks
        self.shard = shard
        self.is_main = ranks.is_main
        self.device = ranks.device
        self.has_all_layers = not shard
        self.description = f"data-parallel{', sharded' if shard else ''}, {ranks}"
        self._sharded: ShardedLayers | None = None
        self._steps = 0
        self._flags = dict.fromkeys(FLAGS, False)
        #: Sum of the processes' flags in the last step.
        self._answers: Tensor | None = None

    def check(self, network: Network, settings: Mapping[str, Any], data: Source) -> None:
        """Check that the training can be divided, and that all processes have the same arguments and data.

        Args:
            network: The network, set up.
            settings: Settings that must be equal in all processes.
            data: The training data.
        """
        super().check(network, settings, data)
        self.ranks.check_equal({**data_settings(data), **settings, "shard": self.shard})
        model = check_kind(network, settings, "data-parallel")
        if self._sharded is not None:
            raise ValueError("the model of the training before must be collected first: call collect(model)")
        if self.shard:
            from forwardforward.distributed.sharding import check_shardable  # takes a second

            check_shardable(model, self.ranks)
        if data.samples is not None and data.batch_size is not None and tensors_of(data) is not None:
            last = batch_slices(data.samples, data.batch_size)[-1]
            count = last.stop - last.start
            if count < self.ranks.size:
                raise ValueError(
                    f"batch_size must leave at least one sample per process in every batch, got {count} samples in the "
                    f"last batch for {self.ranks.size} processes"
                )
        check_divisible(model, data)

    def begin(self, network: Network, optimizer: LocalOptimizer, data: Source) -> None:
        """Give all processes the weights of rank 0, or a part of them.

        Args:
            network: The network.
            optimizer: Its local optimizers.
            data: The training data.
        """
        self._answers = None  # those of an earlier training, which may have been interrupted
        self.ranks.broadcast([value for _, value in sorted(network.state_dict().items())])
        if self.shard:
            from forwardforward.distributed.sharding import ShardedLayers

            assert isinstance(network, FFSequential)
            self._sharded = ShardedLayers(network, optimizer, self.ranks)

    def step(self, network: Network, step: Callable[..., StepResult]) -> Callable[..., StepResult]:
        """Return the function of a training step.

        Args:
            network: The network.
            step: The function of one process, which is not used.
        """
        assert isinstance(network, FFSequential)
        return partial(self._step, network)

    def _step(
        self, network: FFSequential, batch: tuple[Tensor, Tensor | None], *arguments: Any, **options: Any
    ) -> StepResult:
        count, rank, size = len(batch[0]), self.ranks.rank, self.ranks.size
        if count < size:
            raise ValueError(f"a batch must have at least one sample per process, got {count} for {size} processes")
        part = slice(rank * count // size, (rank + 1) * count // size)
        share = RankShare(self, part, (part.stop - part.start) / count, self._sharded)
        self._answers = None
        with shared_batch(partial(_sum, self.ranks), share.weight):
            result = network.step(batch, *arguments, share=share, **options)
        if self._sharded is not None:
            self._sharded.free()
        self._steps += 1
        if self._steps % CHECK_EVERY == 0:
            check_loss_finite(result)
        return result

    def any_process(self, flag: bool) -> bool:
        """Return whether a flag is set in any process, which all wait for.

        Args:
            flag: The flag of this process.
        """
        return self.ranks.any(flag)

    def any_process_before(self, name: str, flag: bool) -> bool:
        """Return whether a flag was set in any process before the last step.

        Rank 0 writes a checkpoint of layers that are not sharded alone, whenever it wants.

        Args:
            name: Name of the flag.
            flag: The flag of this process.
        """
        if name == "checkpoint" and self._sharded is None:
            return flag
        answer = self._answers is not None and bool(self._answers[FLAGS.index(name)])
        self._flags[name] = flag and not answer
        return answer

    def record(self, record: dict[str, Any]) -> dict[str, Any]:
        """Return the record of rank 0; those of other processes differ in their times.

        Args:
            record: The record of this process.
        """
        result: dict[str, Any] = self.ranks.broadcast_object(record)
        return result

    def evaluate(self, network: Network, data: Data, choose: bool = False) -> Evaluation:
        """Return the errors, which rank 0 measures, in all processes; of sharded layers, all measure them.

        Args:
            network: The network.
            data: Labeled data.
            choose: Whether the classifier of rank 0 chooses its layers by these data first, for all processes.
        """
        if self._sharded is not None:
            self.ranks.check_equal(data_settings(network.batches(data), "data to evaluate"))
        evaluation = super().evaluate(network, data, choose) if self.is_main or self._sharded is not None else None
        if self._sharded is not None:
            self._sharded.free()
        result: Evaluation = self.ranks.broadcast_object(evaluation)
        if choose and isinstance(network.classifier, nn.Module):
            self.ranks.broadcast([value for _, value in sorted(network.classifier.state_dict().items())])
        return result

    def layer_runner(self) -> Callable[[Network, Tensor], object] | None:
        """Return a function that runs all layers once on raw images, if they are sharded."""
        return None if self._sharded is None else self._run_layers

    def _run_layers(self, network: Network, images: Tensor) -> None:
        network(images)
        assert self._sharded is not None
        self._sharded.free()

    def states(self, network: Network, optimizer: LocalOptimizer) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the states of the network and of its optimizers, complete in rank 0.

        Args:
            network: The network.
            optimizer: Its local optimizers.
        """
        states = super().states(network, optimizer)
        if self._sharded is None:
            return states
        model, optimizers = (_gathered(state, self.is_main) for state in states)
        return model, optimizers

    def collect(self, network: Network) -> None:
        """Give all processes the whole weights, if they are sharded.

        Args:
            network: The network, after the training.

        Raises:
            ValueError: If the last training was that of another network.
        """
        if self._sharded is None:
            return
        if self._sharded.network is not network:
            raise ValueError("network must be that of the last training, got another one")
        self._sharded.collect()
        self._sharded = None

    def flags(self) -> list[float]:
        """Return the flags to send."""
        return [float(self._flags[name]) for name in FLAGS]

    def receive_flags(self, flags: Tensor) -> None:
        """Add the flags of all processes that came with the gradients of a layer.

        Args:
            flags: The sums.
        """
        self._answers = flags if self._answers is None else self._answers + flags


class RankShare:
    """This process's samples of one batch.

    Args:
        parallel: The training.
        part: The samples.
        weight: Their number divided by that of the batch.
        sharded: The layers, if they are sharded.
    """

    def __init__(
        self, parallel: DataParallel, part: slice, weight: float, sharded: ShardedLayers | None = None
    ) -> None:
        self.part = part
        self.weight = weight
        self._parallel = parallel
        self._sharded = sharded

    def gather(self, rows: Tensor) -> Tensor:
        """Return the rows of the whole batch."""
        count = round(len(rows) / self.weight)
        all_rows = rows.new_zeros(count, *rows.shape[1:])
        all_rows[self.part] = rows
        return self._parallel.ranks.sum(all_rows, "scores")

    def reduce(self, parameters: Sequence[nn.Parameter], local: LocalLoss) -> GradientSum:
        """Begin to sum the gradients of parameters over the processes."""
        others = [p for p in parameters if not is_sharded(p)]
        sharded: ShardedGradients | None = None
        if self._sharded is not None and len(others) < len(parameters):
            sharded = self._sharded.begin_sum([p for p in parameters if is_sharded(p)])
        return GradientSum(self._parallel, others, local, self.weight, sharded)

    @contextlib.contextmanager
    def scoring(self) -> Iterator[None]:
        """Context manager in which layers run without an update before the step."""
        yield
        if self._sharded is not None:
            self._sharded.free()

    def draws(self) -> contextlib.AbstractContextManager[None]:
        """Context manager in which the global generators draw other numbers in each process."""
        return rank_draws(self._parallel.ranks)


class GradientSum:
    """A sum of the gradients of one layer over the processes, with the layer's figures in the same message.

    Args:
        parallel: The training.
        parameters: The parameters of the layer.
        local: Figures of this process's samples.
        weight: This process's share of the samples.
        sharded: The sums of the gradients of sharded parameters.
    """

    def __init__(
        self,
        parallel: DataParallel,
        parameters: Sequence[nn.Parameter],
        local: LocalLoss,
        weight: float,
        sharded: ShardedGradients | None = None,
    ) -> None:
        self._parallel = parallel
        self._sharded = sharded
        self._gradients = [p.grad for p in parameters if p.grad is not None]
        self._local = local
        figures = torch.stack([value.double() for value in _figures(local).values()]) * weight
        flags = figures.new_tensor(parallel.flags())
        dtype = self._gradients[0].dtype if self._gradients else local.loss.dtype
        gradients = [gradient.flatten() for gradient in self._gradients]
        self._bucket = torch.cat([*gradients, figures.to(dtype), flags.to(dtype)])
        self._message: Message = parallel.ranks.begin_sum(self._bucket, "gradients")

    def wait(self) -> LocalLoss:
        """Wait for the sum, store the gradients, and return the figures of the whole batch."""
        if self._sharded is not None:
            self._sharded.wait()
        self._message.wait()
        position = 0
        for gradient in self._gradients:
            gradient.copy_(self._bucket[position : position + gradient.numel()].view_as(gradient))
            position += gradient.numel()
        # copies: the figures of many steps are kept, and would keep the gradients
        numbers = self._bucket[position:].clone().to(self._local.loss.dtype)
        self._parallel.receive_flags(numbers[len(numbers) - len(FLAGS) :])
        values = dict(zip(_figures(self._local), numbers, strict=False))
        parts = {name: values[f"parts/{name}"] for name in self._local.parts}
        positive, negative, accuracy = (values.get(name) for name in ("positive", "negative", "accuracy"))
        return LocalLoss(values["loss"], positive, negative, accuracy, parts)


def _figures(local: LocalLoss) -> dict[str, Tensor]:
    """Return the numbers of a local loss by name."""
    figures = {name: getattr(local, name) for name in ("loss", "positive", "negative", "accuracy")}
    figures |= {f"parts/{name}": value for name, value in local.parts.items()}
    return {name: value for name, value in figures.items() if value is not None}


def _gathered(state: Any, keep: bool) -> Any:
    """Return a state with whole tensors on the CPU in the process that keeps them; all must call it."""
    if isinstance(state, dict):
        return {key: _gathered(value, keep) for key, value in state.items()}
    if isinstance(state, Tensor) and is_sharded(state):
        value = whole(state.detach())
        return value.cpu() if keep else None
    return state


class _Sum(torch.autograd.Function):
    """A sum over the processes; its gradient is the sum of the gradients of all processes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, ranks: Ranks) -> Tensor:
        ctx.ranks = ranks
        return ranks.sum(x.detach().clone(), "statistics")

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return ctx.ranks.sum(gradients[0].contiguous().clone(), "statistics"), None


def _sum(ranks: Ranks, x: Tensor) -> Tensor:
    apply: Any = _Sum.apply  # Typed from torch 2.14 on only.
    total: Tensor = apply(x, ranks)
    return total
