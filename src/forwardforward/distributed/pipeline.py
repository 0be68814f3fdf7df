"""Pipelined training: each process trains a run of layers on the activations of the process before."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from forwardforward._utils.annotations import describe
from forwardforward._utils.arguments import NonNegativeInt, PositiveInt, checked
from forwardforward._utils.modes import autocast_to, eval_mode
from forwardforward.batches import Batch
from forwardforward.classifiers import SumOverLayers
from forwardforward.data.batching import Data, Pair, Source, source
from forwardforward.distributed.balance import balanced_runs, layer_seconds
from forwardforward.distributed.checks import check_kind, check_loss_finite, data_settings
from forwardforward.distributed.passes import Passes
from forwardforward.distributed.ranks import Ranks
from forwardforward.distributed.stage import StageStep
from forwardforward.distributed.states import Constant, constants, merged_meters, merged_states, own_states, own_weights
from forwardforward.distributed.stream import Packet, Stream, rank_draws
from forwardforward.network import Network
from forwardforward.objectives import LocalLoss
from forwardforward.optimizers import LocalOptimizer
from forwardforward.sequential import FFSequential
from forwardforward.step import StepResult
from forwardforward.training import Evaluation
from forwardforward.training.evaluation import Counts, chooses_layers
from forwardforward.training.parallel import Parallel
from forwardforward.update_schedules import Groups, Joint

__all__ = ["Pipeline"]

#: Flags of rank 0 that are sent with each batch, as bits.
FLAGS = {"stop": 1, "checkpoint": 2}

#: Steps between checks of the figures, which wait for the device.
CHECK_EVERY = 16


@checked
class Pipeline(Parallel):
    """Pipelined training: each process trains a run of layers on the stream of the process before.

    While one process trains its layers on a batch, the process before trains on a later one. A local loss needs no
    gradient from later layers, so that no process waits for another once the first batches have arrived. The batches
    are not divided: an update uses the whole batch, and the activations that a layer reads are those of the layer
    before from before its update by the same batch, as in one process. **No activation is stale**, and the weights are
    those of one process.

    Some settings need an answer of later layers in every step, for which earlier ones wait, so that they are slower:
    groups of layers that cross the border of two processes (:class:`~forwardforward.update_schedules.Overlapping`)
    receive gradients there, and negatives that depend on scores (:class:`~forwardforward.negatives.HardLabel`,
    :class:`~forwardforward.negatives.HardGoodness`) wait for the scores of the whole network. With ``lookahead`` of
    :math:`k`, the scores of a batch are computed :math:`k` steps before it is trained on, by the weights of that time,
    and the head is updated then. The scores are :math:`k` steps old, and no process waits if :math:`k` is at least the
    number of processes.

    Layers are divided so that the slowest process is as fast as possible by the measured time of each layer. A process
    keeps the weights, gradients and optimizer states of its own layers only; after the training, the others have no
    values, see :meth:`collect`. Checkpoints contain all layers, which rank 0 gathers on the CPU. A run resumes with any
    number of processes, also with one.

    Random numbers that blocks draw, such as those of ``nn.Dropout``, are equal in distribution only.

    Args:
        ranks: The processes.
        layers: Number of layers of each process; default: balanced by measured time.
        lookahead: Number of steps between the scores for negatives and their use. With more than 0, a training stops
            and writes checkpoints between epochs only, and data are not augmented.

    Attributes:
        runs: The layers of each process, after the training has begun.

    Raises:
        ValueError: In ``fit``, if the training cannot be divided: ``compile=True``, a baseline, fewer layers than
            processes, ``lookahead`` for negatives that need no scores, a classifier that chooses its layers, views,
            callbacks that need all layers (``EarlyStopping``, ``GrowNetwork``, ``WeightAverage``, ``TensorBoardLog``),
            micro-batches, or arguments that differ between processes.

    Example:
        >>> import forwardforward as ff
        >>> model = ff.FFSequential(
        ...     ff.FFLinear(8, 6), goodness=ff.goodness.LearnedProjection(2), loss=ff.losses.CrossEntropy()
        ... )
        >>> data = torch.rand(20, 8), torch.arange(20) % 2
        >>> with ff.distributed.process_group() as ranks:  # a script for torchrun
        ...     pipeline = Pipeline(ranks)
        ...     history = ff.fit(model, data, epochs=1, progress=False, parallel=pipeline)
        ...     evaluation = pipeline.evaluate(model, data)
    """

    def __init__(
        self, ranks: Ranks, layers: Sequence[PositiveInt] | None = None, lookahead: NonNegativeInt = 0
    ) -> None:
        if layers is not None and len(layers) != ranks.size:
            raise ValueError(f"layers must be one number per process, {ranks.size}, got {tuple(layers)}")
        self.ranks = ranks
        self.layers = None if layers is None else tuple(layers)
        self.lookahead = lookahead
        self.runs: list[range] = []
        self.is_main = ranks.is_main
        self.device = ranks.device
        self.reads_inputs = ranks.rank == 0
        self.has_all_layers = False
        self.description = f"pipeline, {ranks}"
        self._is_last = ranks.rank == ranks.size - 1
        self._training = Stream(ranks, tag=1, kind="activations", prefetch=True)
        self._passes = Passes(ranks, range(0))
        self._gradients = Stream(ranks, tag=3, kind="gradients")
        self._scores = Stream(ranks, tag=4, kind="scores")
        self._flags = dict.fromkeys(FLAGS, False)
        self._received = 0
        self._constants: list[Constant] = []
        self._steps = 0
        #: Batches that were read and not trained on yet, and figures of the head on those whose scores are computed.
        self._ahead: deque[Pair] = deque()
        self._begins_epoch = False
        #: Batches of the epoch that are not trained on yet; 0 if their number is unknown.
        self._remaining = 0
        self._own_scores: deque[Tensor] = deque()
        self._head_figures: deque[LocalLoss] = deque()

    @property
    def _own(self) -> range:
        return self.runs[self.ranks.rank]

    # Set up

    def check(self, network: Network, settings: Mapping[str, Any], data: Source) -> None:
        """Check that the layers can be divided, and that all processes have the same arguments and data.

        Args:
            network: The network, set up.
            settings: Settings that must be equal in all processes.
            data: The training data.
        """
        super().check(network, settings, data)
        self.ranks.check_equal({**data_settings(data), **settings})
        network = check_kind(network, settings, "pipelined")
        if chooses_layers(network.classifier):
            raise ValueError(
                f"classifier must not choose layers in pipelined training, got {type(network.classifier).__name__}"
            )
        if self.lookahead and network.needed_scores is None:
            raise ValueError(f"lookahead must be 0 for negatives that need no scores, got {self.lookahead}")
        if self.lookahead and settings.get("augment") not in (None, "None"):
            raise ValueError(f"augment must be None with lookahead={self.lookahead}, got {settings['augment']}")
        _check_views(network)
        if any(p.is_meta for p in network.parameters()):
            raise ValueError("model must have the values of all layers: call collect(model) before it is trained again")
        depth, size = len(network), self.ranks.size
        if depth < size:
            raise ValueError(
                f"a pipeline needs at least one layer per process, got {depth} layers for {size} processes"
            )
        if self.layers is not None and sum(self.layers) != depth:
            raise ValueError(f"layers must add up to the {depth} layers of the network, got {self.layers}")

    def begin(self, network: Network, optimizer: LocalOptimizer, data: Source) -> None:
        """Divide the layers, and free the values of those of other processes.

        Args:
            network: The network.
            optimizer: Its local optimizers.
            data: The training data.
        """
        model = _sequential(network)
        self.ranks.broadcast([value for _, value in sorted(network.state_dict().items())])
        if self.layers is None:
            seconds = layer_seconds(model, optimizer, data) if self.is_main else None
            self.runs = balanced_runs(self.ranks.broadcast_object(seconds), self.ranks.size)
        else:
            stops = [sum(self.layers[: rank + 1]) for rank in range(self.ranks.size)]
            self.runs = [range(stop - count, stop) for stop, count in zip(stops, self.layers, strict=True)]
        self._passes = Passes(self.ranks, self._own)
        others: list[nn.Module] = [layer for index, layer in enumerate(model.stack) if index not in self._own]
        if model.head is not None and not self._is_last:
            others.append(model.head)
        self._constants = [constant for module in others for constant in constants(module)]
        for module in others:
            module.to("meta")
        optimizer.attach(model)

    # Training

    def step(self, network: Network, step: Callable[..., StepResult]) -> Callable[..., StepResult]:
        """Return the function of a training step.

        Args:
            network: The network.
            step: The function of one process, which is not used.
        """
        return partial(self._step, _sequential(network))

    def _step(
        self,
        network: FFSequential,
        batch: tuple[Tensor, Tensor | None],
        optimizer: LocalOptimizer,
        *,
        groups: Groups | None = None,
        generator: torch.Generator | None = None,
        autocast: torch.dtype | None = None,
        monitor: bool = False,
        validate: bool = True,
    ) -> StepResult:
        groups = Joint()(len(network), 0, 0, 1) if groups is None else groups
        self._remaining = max(0, self._remaining - 1)
        optimizer.attach(network)
        scored = partial(self._score, network, optimizer=optimizer, generator=generator, autocast=autocast)
        features: Tensor | None = None
        if self.lookahead:
            if self._begins_epoch:
                for early in (batch, *itertools.islice(self._ahead, self.lookahead - 1)):
                    scored(early)
            if len(self._ahead) == self.lookahead:  # the batch that was read for this step
                scored(self._ahead[-1])
            self._begins_epoch = False
        else:
            features = scored(batch, validate=validate)
        images, labels = self._batch(network, batch, validate)
        if self.reads_inputs:
            scores = self._receive_scores(network)
            samples = network.make_batch(images, labels, scores, generator)
            if samples.targets is not labels:
                raise ValueError("negatives must return the labels as targets in pipelined training")
            packet = Packet(None, {}, {}, {}, sum(bit for name, bit in FLAGS.items() if self._flags[name]))
        else:
            packet = self._training.receive(self.ranks.rank - 1)
            if self._remaining and not packet.flags & FLAGS["stop"]:
                self._training.expect(self.ranks.rank - 1)  # arrives while this batch is trained on
            inputs = images.new_empty(0) if packet.output is None else packet.output
            samples = Batch(inputs, labels, network.uses_negatives)
        self._received = packet.flags
        stack = network.training_stack(labels is not None)
        is_sent = False

        def send(output: Tensor, rows: Mapping[int, Tensor], skips: Mapping[int, Tensor]) -> None:
            nonlocal is_sent
            is_sent = True
            self._training.send(Packet(output, skips, rows, {}, packet.flags), self.ranks.rank + 1)

        with rank_draws(self.ranks):
            stage = StageStep(
                stack,
                optimizer,
                samples,
                self._own,
                packet.skips,
                packet.rows,
                send,
                self._exchange,
                autocast=autocast,
                monitor=monitor,
            )
            result = stage.run(groups)
        if not is_sent and not self._is_last:  # no later layer is computed, but the flags must arrive
            self._training.send(Packet(None, {}, stage.outputs, {}, packet.flags), self.ranks.rank + 1)
        if self._head_figures:
            result.head = self._head_figures.popleft()
        elif self._is_last and network.head is not None and labels is not None:
            features = network.head.read(stage.outputs) if features is None else features
            result.head = network.head.step(features, labels, optimizer, network.target_kind)
        self._steps += 1
        if self._steps % CHECK_EVERY == 0:
            check_loss_finite(result)
        return result

    def _exchange(self, gradient: Tensor | None, like: Tensor) -> Tensor:
        """Send a gradient to the process before, or receive one from the process after."""
        if gradient is not None:
            self._gradients.send(Packet(gradient, {}, {}, {}), self.ranks.rank - 1)
            return gradient
        received = self._gradients.receive(self.ranks.rank + 1).output
        assert received is not None
        return received

    def _batch(self, network: FFSequential, batch: Pair, validate: bool = False) -> Pair:
        """Return a batch, prepared in the first process."""
        if self.reads_inputs:
            return network.prepared_batch(batch, validate)
        images, labels = batch
        if labels is None:
            return images, None
        targets = network.check_targets(images, labels, validate=False)
        return images, targets if network.target_scaling is None else network.target_scaling(targets)

    def _score(
        self,
        network: FFSequential,
        batch: Pair,
        optimizer: LocalOptimizer,
        generator: torch.Generator | None,
        autocast: torch.dtype | None,
        validate: bool = False,
    ) -> Tensor | None:
        """Compute the scores that the negatives need, which the last process sends to the first.

        Returns the head's features in the last process; with a lookahead, the head is updated at once.
        """
        encoder, head, needed = network.label_encoder, network.head, network.needed_scores
        if encoder is None or (head is None and needed is None):
            return None
        images, labels = self._batch(network, batch, validate)
        features: Tensor | None = None
        with eval_mode(network), torch.no_grad(), autocast_to(autocast, self.ranks.device):
            if head is not None:
                features = self._passes.head_features(network, head, images, generator)
            scores: Tensor | None = None
            if needed == "head" and head is not None and features is not None:
                scores = head(features)
            elif needed == "goodness":
                result = self._passes.goodness(network, images)
                if result is not None:
                    scores = SumOverLayers(network.classifying_layers())(result[0])
            if scores is not None:
                self._send_scores(scores)
        if self.lookahead and features is not None and head is not None and labels is not None:
            self._head_figures.append(head.step(features, labels, optimizer, network.target_kind))
        return features

    def _send_scores(self, scores: Tensor) -> None:
        if self.reads_inputs:  # one process
            self._own_scores.append(scores)
        else:
            self._scores.send(Packet(scores, {}, {}, {}), 0)

    def _receive_scores(self, network: FFSequential) -> Tensor | None:
        if network.label_encoder is None or network.needed_scores is None:
            return None
        return self._own_scores.popleft() if self._is_last else self._scores.receive(self.ranks.size - 1).output

    @torch.no_grad()
    def layer_runner(self) -> Callable[[Network, Tensor], None]:
        """Return the function that runs the layers of this process."""
        return self._run_layers

    def _run_layers(self, network: Network, images: Tensor) -> None:
        """Run the layers of this process once, on the outputs of the process before.

        Args:
            network: The network, in evaluation mode.
            images: Raw images, the same in all processes.
        """
        model = _sequential(network)
        encoder, x = model.label_encoder, model.prepare(images) if self.reads_inputs else images
        self._passes.run(model, x if encoder is None or not self.reads_inputs else encoder.neutral(x), False)
        self._passes.flush()

    def ahead(self, batches: Iterator[Pair], count: int | None = None) -> Iterator[Pair]:
        """Iterate over the batches of an epoch, ``lookahead`` of which are read before they are trained on.

        Args:
            batches: The batches.
            count: Their number; None if it is unknown.
        """
        self._remaining = count or 0
        self._ahead.clear()
        self._head_figures.clear()
        self._begins_epoch = True
        for batch in batches:
            self._ahead.append(batch)
            if len(self._ahead) > self.lookahead:
                yield self._ahead.popleft()
        while self._ahead:
            yield self._ahead.popleft()

    def any_process(self, flag: bool) -> bool:
        """Return whether a flag is set in any process, which all wait for.

        Args:
            flag: The flag of this process.
        """
        return self.ranks.any(flag)

    def any_process_before(self, name: str, flag: bool) -> bool:
        """Return whether a flag was set in rank 0 before the last step; it is sent with the batch.

        Args:
            name: Name of the flag.
            flag: The flag of this process.
        """
        if self.lookahead:  # scores that are computed and not used are not part of a checkpoint
            return False
        answer = bool(self._received & FLAGS[name])
        self._received &= ~FLAGS[name]
        self._flags[name] = flag and not answer
        return answer

    def record(self, record: dict[str, Any]) -> dict[str, Any]:
        """Return the record of an epoch with the figures of all layers.

        Args:
            record: The record of this process.
        """
        records = self.ranks.gather_objects(record)
        layers = [records[rank]["layers"][index] for rank, run in enumerate(self.runs) for index in run]
        return {**records[0], "layers": layers, "head": records[-1]["head"]}

    def epoch_state(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return the state of an unfinished epoch with the figures of all layers.

        Args:
            state: The state of this process.
        """
        return {**state, "meter": merged_meters(self.ranks.gather_objects(state["meter"]), self.runs)}

    # States

    def states(self, network: Network, optimizer: LocalOptimizer) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the states of all layers and optimizers, complete in rank 0.

        Args:
            network: The network.
            optimizer: Its local optimizers.
        """
        parts = self.ranks.gather_objects_at_main(own_states(network, optimizer))
        return ({}, {}) if parts is None else merged_states(list(network.state_dict()), parts)

    def collect(self, network: Network) -> None:
        """Give all processes the weights of all layers.

        Args:
            network: The network, after the training.
        """
        whole: dict[str, Any] = {}
        for weights in reversed(self.ranks.gather_objects(own_weights(network))):
            whole |= weights
        modules: list[nn.Module] = [*network.stack, *([] if network.head is None else [network.head])]
        for module in modules:
            if any(p.is_meta for p in module.parameters()):
                module.to_empty(device=self.ranks.device)
        for module, name, value in self._constants:
            setattr(module, name, value)
        self._constants = []
        network.load_state_dict(whole)

    # Classification

    @torch.no_grad()
    def evaluate(self, network: Network, data: Data, choose: bool = False) -> Evaluation:
        """Return the errors in all processes; each computes its own layers, and batches follow each other.

        ``layer_accuracies`` of pair objectives are None, since they need negatives.

        Args:
            network: The network, in training or after it.
            data: Labeled data.
            choose: Ignored, since no classifier of a pipeline chooses its layers.
        """
        model = _sequential(network)
        _check_views(model)
        counts = Counts(model)
        with eval_mode(model):
            for images, labels in self._chunks(model, data):
                if labels is None:
                    raise ValueError("data must have labels to be evaluated on, got none")
                prepared = model.prepare(images) if self.reads_inputs else images
                classified = self._passes.classify(model, prepared)
                if classified is not None:
                    goodness, logits = classified
                    scores = None if callable(model.classifier) else logits
                    counts.count(model.check_targets(images, labels), goodness, logits, None, scores)
        self._passes.flush()
        result: Evaluation = self.ranks.broadcast_object(
            counts.result() if self._is_last else None, self.ranks.size - 1
        )
        return result

    def _chunks(self, model: FFSequential, data: Data) -> Iterator[tuple[Tensor, Tensor | None]]:
        largest = max(layer.largest_size for layer in model.stack)
        copies = 1 if model.label_encoder is None else model.label_encoder.num_classes
        size = max(2, min(1000, model.chunk_size // (largest * copies)))
        batches = source(data, size, self.ranks.device, model.dtype, model.num_embeddings, shuffle=False)
        self.ranks.check_equal(data_settings(batches, "data to evaluate or classify"))
        return batches.batches(None)


def _sequential(network: Network) -> FFSequential:
    assert isinstance(network, FFSequential)
    return network


def _check_views(network: FFSequential) -> None:
    if network.views is not None:
        raise ValueError(f"views must be None in a pipeline, got {describe(network.views)}")
