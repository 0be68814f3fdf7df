"""Trainings by several processes and by one, compared; run by ``test_equals_one_process.py`` in a process of its own.

Prints one line of JSON per case: the largest difference of weights and running statistics, and of figures.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

import forwardforward as ff
from forwardforward.distributed import DataParallel, Pipeline, process_group, sharding
from forwardforward.distributed.stream import Packet, Stream
from forwardforward.training.history import numbers_of
from forwardforward.training.randomness import derive_generator
from tests.distributed import launch
from tests.replicas.cases import data, difference

SIZES = [(12, 8), (8, 7), (7, 9), (9, 6)]


def pair(**options: Any) -> ff.FFSequential:
    """A network with a pair objective, of which the first layer shares the product with both labels."""
    settings: dict[str, Any] = {
        "goodness": ff.goodness.SumOfSquares(),
        "loss": ff.losses.Threshold(theta="width", learned=True),
        "normalization": ff.normalization.RMSNorm(),
        "label_encoder": ff.label_encoders.Overlay(3),
    }
    return ff.FFSequential(*(ff.FFLinear(*size) for size in SIZES), **{**settings, **options}).double()


def per_class() -> ff.FFSequential:
    """A network with a class objective, batch normalization and a head on the outputs."""
    return ff.FFSequential(
        *(ff.FFLinear(*size) for size in SIZES),
        goodness=ff.goodness.LearnedProjection(3),
        loss=ff.losses.CrossEntropy(),
        normalization=ff.normalization.BatchNorm(affine=True),
        head=ff.heads.LinearHead(3),
    ).double()


def maps() -> ff.FFSequential:
    """A convolutional network with a learned label, a skip connection and negatives by goodness."""
    return ff.FFSequential(
        ff.FFConv2d(2, 4, 3, padding=1),
        ff.FFConv2d(4, 4, 3, padding=1),
        ff.FFConv2d(4, 4, 3, padding=1, residual=ff.layers.SkipConnection(2)),
        goodness=ff.goodness.MeanOfSquares(),
        loss=ff.losses.SymBa(),
        normalization=ff.normalization.BatchNorm(),
        label_encoder=ff.label_encoders.LearnedChannel(3, 4),
        negatives=ff.negatives.HardGoodness(),
        input_shape=(1, 4, 4),
    ).double()


def hard_labels() -> ff.FFSequential:
    """A network with hard labels, a head under random labels, peer and batch normalization."""
    return pair(
        normalization=ff.normalization.BatchNorm(),
        peer=ff.normalization.PeerNormalization(),
        negatives=ff.negatives.HardLabel(),
        head=ff.heads.LinearHead(3, label="random"),
        preprocessing=ff.preprocessing.Preprocessing(standardize=True),
    )


def real_values() -> ff.FFSequential:
    """A network whose targets are scaled real numbers."""
    return ff.FFSequential(
        *(ff.FFLinear(*size) for size in SIZES),
        goodness=ff.goodness.LearnedProjection(1),
        loss=ff.losses.SquaredError(),
        normalization=ff.normalization.RMSNorm(),
    ).double()


def mixed() -> ff.FFSequential:
    """A network of class probabilities, with a head."""
    return ff.FFSequential(
        *(ff.FFLinear(*size) for size in SIZES),
        goodness=ff.goodness.LearnedProjection(3),
        loss=ff.losses.CrossEntropy(),
        head=ff.heads.LinearHead(3),
    ).double()


def unlabeled() -> ff.FFSequential:
    """A network whose sampler combines the images of a batch."""
    return pair(label_encoder=None, negatives=ff.negatives.SelfContrast(), num_classes=3)


#: Network and schedule by the name of the case.
CASES: dict[str, tuple[Callable[[], ff.FFSequential], Any]] = {
    "pair": (pair, None),
    "class, batch normalization, head": (per_class, None),
    "hard labels, head, peers": (hard_labels, None),
    "overlapping, every objective": (pair, ff.update_schedules.Overlapping(2, None)),
    "overlapping, alternating": (pair, ff.update_schedules.Overlapping(2, "step")),
    "maps, skip connection, learned label": (maps, None),
    "unlabeled": (unlabeled, None),
    "real values": (real_values, None),
    "mixed classes, clipped gradients": (mixed, None),
}


def samples(make: Callable[[], ff.FFSequential], count: int = 37) -> tuple[Tensor, Tensor]:
    """Return samples for the network of a case."""
    images, labels = data("learned_label" if make is maps else "pair", count)
    return images, images.sum(1) if make is real_values else labels


#: Whether this version of torch can shard layers.
CAN_SHARD = sharding.can_shard(torch.device("cpu"))

KINDS: dict[str, Any] = {"data": DataParallel, "pipeline": Pipeline}
if CAN_SHARD:
    KINDS["sharded"] = partial(DataParallel, shard=True)


def train(name: str, parallel: Any = None, epochs: int = 2, **options: Any) -> tuple[ff.FFSequential, Any]:
    """Return a trained network and its history."""
    make, schedule = CASES[name]
    torch.manual_seed(1)
    model = make()
    history = ff.fit(
        model,
        samples(make),
        validation=samples(make, 12),
        epochs=epochs,
        batch_size=8,
        optimizer=ff.LocalOptimizer(torch.optim.Adam, lr=0.01, clip_norm=0.1 if make is mixed else None),
        schedule=schedule,
        augment=ff.data.Mixup() if make is mixed else None,
        progress=False,
        parallel=parallel,
        **options,
    )
    return model, history


class CheckPrefetch(ff.training.Callback):
    """Check that a process receives the next packet while it trains, except in the last step of an epoch."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline

    def on_step_end(self, state: ff.training.FitState, result: ff.step.StepResult) -> None:
        """Check that a receive has begun."""
        assert state.unfinished is not None
        is_last = state.unfinished.steps == 5
        has_begun = self.pipeline._training._expected is not None
        assert has_begun == (not is_last and not self.pipeline.reads_inputs)


class CheckShards(ff.training.Callback):
    """Check that a process has its part of weights, gradients and optimizer states, and gathers one group of layers.

    Args:
        size: Number of processes.
        rank: This process.
        largest: Layers of the largest group.
    """

    def __init__(self, size: int, rank: int, largest: int) -> None:
        self.size = size
        self.rank = rank
        self.largest = largest

    def on_fit_begin(self, state: ff.training.FitState) -> None:
        """Check the layers that are gathered whenever a layer has run."""

        def check(*arguments: Any) -> None:
            gathered = [layer for layer in state.model.layers if not all(map(self.is_part, layer.parameters()))]
            assert len(gathered) <= self.largest

        for layer in state.model.layers:
            layer.register_forward_hook(check)

    def on_step_end(self, state: ff.training.FitState, result: ff.step.StepResult) -> None:
        """Check gradients and states, of a part of the parameters each."""
        for parameter in state.model.layers.parameters():
            assert self.is_part(parameter)
            assert parameter.grad is None or self.is_part(parameter.grad)
        for optimizer in state.optimizer.optimizers(*map(str, range(len(state.model)))):
            for parameter, values in optimizer.state.items():
                assert all(self.is_part(value) for value in values.values() if value.shape == parameter.shape)

    def is_part(self, x: Any) -> bool:
        """Return whether this process has its rows of a tensor only; numbers are not sharded."""
        if not x.dim():
            return True
        rows = dict(enumerate(torch.empty(len(x)).chunk(self.size))).get(self.rank, torch.empty(0))
        return isinstance(x, DTensor) and len(x.to_local()) == len(rows)


def compare(kind: str, names: list[str], size: int, rank: int) -> None:
    """Compare trainings by several processes with those by one."""
    with process_group(start_timeout=60) as ranks:
        for name in names:
            parallel = KINDS[kind](ranks)
            largest = 2 if "overlapping" in name else 1
            callbacks: list[ff.training.Callback] = [CheckShards(size, rank, largest)] if kind == "sharded" else []
            if isinstance(parallel, Pipeline):
                callbacks.append(CheckPrefetch(parallel))
            model, history = train(name, parallel, callbacks=callbacks)
            if isinstance(parallel, Pipeline):
                check_memory(model, parallel)
            parallel.collect(model)
            if ranks.is_main:
                single, expected = train(name)
                record = {"kind": kind, "size": size, "case": name, "weights": difference(model, single)}
                print(json.dumps({**record, "figures": figures_difference(history, expected)}), flush=True)


def send_packets(rank: int) -> None:
    """Send packets of several sizes, which are received in parts of one message or after it."""
    shapes = [(4, 3), (4, 3), (2, 3), None, (9, 3), (4, 3), (9, 3)]
    with process_group(start_timeout=60) as ranks:
        for prefetch in (False, True):
            stream = Stream(ranks, tag=9, kind="packets", prefetch=prefetch)
            total = 0
            for index, shape in enumerate(shapes):
                output = None if shape is None else torch.full(shape, index + 0.5, dtype=torch.float64)
                packet = Packet(output, {}, {7: torch.arange(index)}, {}, flags=index)
                total += packet.rows[7].nbytes + (0 if output is None else output.nbytes)
                if rank == 0:
                    stream.send(packet, 1)
                    continue
                received = stream.receive(0)
                if prefetch and index + 1 < len(shapes):
                    stream.expect(0)
                assert received.flags == index
                assert torch.equal(received.rows[7], packet.rows[7])
                assert (received.output is None) == (output is None)
                assert output is None or torch.equal(received.output, output)
            if rank == 0:
                stream.flush()
                assert ranks.bytes_sent.pop("packets") == total


def check_memory(model: ff.FFSequential, pipeline: Pipeline) -> None:
    """Check that a process has the weights and gradients of its own layers only."""
    own = pipeline.runs[pipeline.ranks.rank]
    for index, layer in enumerate(model):
        assert all(p.is_meta == (index not in own) for p in layer.parameters())
        assert all(p.grad is None for p in layer.parameters() if index not in own)


def compare_lookahead(size: int, steps: int, rank: int) -> None:
    """Compare a pipeline whose hard labels use old scores with a loop in which they are as old."""
    with process_group(start_timeout=60) as ranks:
        pipeline = Pipeline(ranks, lookahead=steps)
        model, _ = train("hard labels, head, peers", pipeline)
        pipeline.collect(model)
        if ranks.is_main:
            weights = difference(model, with_old_scores(steps))
            print(json.dumps({"kind": "lookahead", "size": size, "case": str(steps), "weights": weights}), flush=True)


def with_old_scores(steps: int, epochs: int = 2) -> ff.FFSequential:
    """Return a network that one process trains with scores that are some steps old."""
    torch.manual_seed(1)
    model = hard_labels()
    images, labels = data("pair")
    model.preprocessing.fit([images])
    optimizer = ff.LocalOptimizer(torch.optim.Adam, lr=0.01).attach(model)
    stack = ff.step.Stack(model.stack, [(str(index),) for index in range(len(model))])
    for epoch in range(epochs):
        generator = derive_generator(0, epoch, "negatives")
        batches = list(ff.TensorData(images, labels).batches(8, derive_generator(0, epoch, "order")))
        scores: list[Tensor] = []
        for index in range(-steps, len(batches)):
            if index + steps < len(batches):
                x, y = model.prepare(batches[index + steps][0]), batches[index + steps][1]
                model.eval()
                with torch.no_grad():
                    features = model.scorer.head_features(x, model.scorer.head_labels(x, generator))
                    scores.append(model.head(features))
                model.train()
                model.head.step(features, y, optimizer)
            if index >= 0:
                x, y = model.prepare(batches[index][0]), batches[index][1]
                samples = model.negatives(x, y, model.label_encoder, scores[index], generator)
                step = ff.step.LayerwiseStep(stack, optimizer, samples)
                step.run([range(layer, layer + 1) for layer in range(len(model))])
    return model


def figures_difference(history: Any, expected: Any) -> float:
    """Return the largest difference of two histories' figures, without times and figures of evaluations."""
    skipped = ("seconds", "layer_accuracies", "largest_goodness")
    pairs = [
        (dict(numbers_of(record)), dict(numbers_of(other))) for record, other in zip(history, expected, strict=True)
    ]
    return max(
        abs(numbers[name] - others[name])
        for numbers, others in pairs
        for name in others
        if not any(part in name for part in skipped)
    )


def resume(steps: list[tuple[int, str]]) -> None:
    """Train one epoch after the other, each with another number and kind of processes, the last one with one."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint.pt"
        for epochs, (size, kind) in enumerate(steps, 1):
            launch.run(size, partial(_one_epoch, checkpoint, kind, epochs))
        model, _ = train("hard labels, head, peers", epochs=len(steps) + 1, checkpoint=checkpoint, resume=True)
    single, _ = train("hard labels, head, peers", epochs=len(steps) + 1)
    print(json.dumps({"kind": "resumed", "size": 0, "case": str(steps), "weights": difference(model, single)}))


def _one_epoch(checkpoint: Path, kind: str, epochs: int, rank: int) -> None:
    with process_group(start_timeout=60) as ranks:
        train("hard labels, head, peers", KINDS[kind](ranks), epochs, checkpoint=checkpoint, resume=True)


#: Cases of sharded layers in the default tests: uneven parts, a learned threshold in overlapping groups, clipping.
SHARDED = ["overlapping, every objective", "mixed classes, clipped gradients"]

#: Processes, kinds and cases that the default tests compare, and those of the slow ones.
QUICK = ((2, "data", list(CASES)), (3, "pipeline", list(CASES)), *([(2, "sharded", SHARDED)] if CAN_SHARD else []))
ALL = tuple((size, kind, list(CASES)) for kind in KINDS for size in (2, 3))

#: Processes and kinds of the epochs of a training that is resumed.
SHARD = "sharded" if CAN_SHARD else "data"
QUICK_EPOCHS = [(2, SHARD)]
EPOCHS = [(2, "data"), (3, SHARD), (3, "pipeline"), (2, SHARD), (2, "pipeline"), (3, "data")]


def main(quick: bool) -> None:
    """Compare all cases; not only quickly, also pipelines with old scores."""
    torch.set_num_threads(1)
    launch.run(2, send_packets)
    for size, kind, names in QUICK if quick else ALL:
        launch.run(size, partial(compare, kind, names, size))
    resume(QUICK_EPOCHS if quick else EPOCHS)
    if not quick:
        launch.run(2, partial(compare_lookahead, 2, 2))


if __name__ == "__main__":
    main(quick="quick" in sys.argv)
