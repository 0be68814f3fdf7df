"""What cannot be divided among processes is refused by name, and one process alone trains as usual."""

from __future__ import annotations

import copy
import itertools
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

import forwardforward as ff
from forwardforward.distributed import DataParallel, Pipeline, Ranks, balanced_runs, process_group, sharding
from forwardforward.distributed.data_parallel import RankShare
from tests.distributed import equality
from tests.replicas.cases import data, difference


@pytest.fixture
def ranks() -> Iterator[Ranks]:
    """A group of one process."""
    with process_group() as group:
        yield group


def fit(model: Any, parallel: Any, **options: Any) -> ff.training.History:
    """Train for an epoch."""
    return ff.fit(model, data("pair"), epochs=1, batch_size=8, progress=False, parallel=parallel, **options)


def per_class(**options: Any) -> ff.FFSequential:
    """A network with a class objective."""
    settings: dict[str, Any] = {"goodness": ff.goodness.LearnedProjection(3), "loss": ff.losses.CrossEntropy()}
    return ff.FFSequential(ff.FFLinear(12, 8), ff.FFLinear(8, 7), **{**settings, **options}).double()


@pytest.mark.parametrize("kind", ["data", "pipeline"])
def test_one_process_alone_trains_as_without_a_group(kind: str, ranks: Ranks) -> None:
    parallel = equality.KINDS[kind](ranks)
    model, history = equality.train("hard labels, head, peers", parallel)
    parallel.collect(model)
    single, expected = equality.train("hard labels, head, peers")
    assert difference(model, single) < 1e-12
    assert equality.figures_difference(history, expected) < 1e-6


def test_a_loss_over_the_batch_is_refused_in_data_parallel_training(ranks: Ranks) -> None:
    model = per_class(goodness=None, loss=ff.losses.SupervisedContrastive(), num_classes=3)
    with pytest.raises(
        ValueError, match="the loss of layer 0 must be a mean over the samples .* which compares the samples"
    ):
        fit(model, DataParallel(ranks))


def test_a_loss_that_is_no_mean_is_refused_in_data_parallel_training(ranks: Ranks) -> None:
    def summed(goodness: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(goodness, targets, reduction="sum")

    objective = ff.objectives.ClassObjective(ff.goodness.LearnedProjection(3), summed)
    with pytest.raises(ValueError, match="the loss of layer 0 must be a mean over the samples .*, a sum"):
        fit(per_class(goodness=None, loss=None, objective=objective), DataParallel(ranks))


def test_a_mean_weighted_by_class_is_refused_also_if_the_first_samples_have_one_class(ranks: Ranks) -> None:
    def weighted(goodness: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(goodness, targets, weight=goodness.new_tensor([1.0, 2.0, 3.0]))

    objective = ff.objectives.ClassObjective(ff.goodness.LearnedProjection(3), weighted)
    images, labels = torch.rand(12, 12).double(), torch.tensor([0] * 6 + [1] * 3 + [2] * 3)
    with pytest.raises(ValueError, match="the loss of layer 0 must be a mean over the samples"):
        ff.fit(
            per_class(goodness=None, loss=None, objective=objective),
            (images, labels), epochs=1, progress=False, parallel=DataParallel(ranks),
        )  # fmt: skip


def test_batch_normalization_of_torch_is_refused_in_data_parallel_training(ranks: Ranks) -> None:
    block = nn.Sequential(nn.Linear(12, 8), nn.BatchNorm1d(8), nn.ReLU())
    goodness, loss = ff.goodness.LearnedProjection(3), ff.losses.CrossEntropy()
    model = ff.FFSequential(block, goodness=goodness, loss=loss, input_shape=(12,)).double()
    with pytest.raises(ValueError, match=r"layers\.0\.block\.1 is a BatchNorm1d, whose statistics would be those of"):
        fit(model, DataParallel(ranks))


@pytest.mark.parametrize("kind", equality.KINDS)
def test_a_compiled_step_and_baselines_are_refused(kind: str, ranks: Ranks) -> None:
    parallel = equality.KINDS[kind](ranks)
    with pytest.raises(ValueError, match="compile must be False"):
        fit(per_class(), parallel, compile=True)
    baseline = ff.baselines.Backpropagation(ff.FFLinear(12, 8), num_classes=3).double()
    with pytest.raises(TypeError, match="model must be an FFSequential"):
        fit(baseline, parallel)


def test_what_needs_all_layers_is_refused_in_a_pipeline(ranks: Ranks) -> None:
    with pytest.raises(ValueError, match="callbacks must not contain EarlyStopping"):
        fit(per_class(), Pipeline(ranks), validation=data("pair"), callbacks=[ff.training.EarlyStopping(2)])
    with pytest.raises(ValueError, match="classifier must not choose layers"):
        fit(per_class(classifier=ff.classifiers.BestInterval()), Pipeline(ranks))
    with pytest.raises(ValueError, match="layers must add up to the 2 layers"):
        fit(per_class(), Pipeline(ranks, layers=(3,)))
    with pytest.raises(ValueError, match="layers must be one number per process, 1, got"):
        Pipeline(ranks, layers=(1, 1))
    with pytest.raises(ValueError, match="lookahead must be 0 for negatives that need no scores, got 2"):
        fit(per_class(), Pipeline(ranks, lookahead=2))


def test_a_group_needs_all_variables_and_no_other_group(ranks: Ranks, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"before torch\.distributed is initialized"), process_group():
        pass


def test_a_group_needs_all_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(ValueError, match="the environment must have RANK, WORLD_SIZE"), process_group():
        pass


@given(st.lists(st.integers(1, 9).map(float), min_size=1, max_size=7), st.integers(1, 7))
def test_the_slowest_run_is_as_fast_as_possible(seconds: list[float], count: int) -> None:
    if count > len(seconds):
        with pytest.raises(ValueError, match="count must be at most the number of layers"):
            balanced_runs(seconds, count)
        return
    runs = balanced_runs(seconds, count)
    assert [layer for run in runs for layer in run] == list(range(len(seconds)))
    assert len(runs) == count
    assert all(runs)
    slowest = max(sum(seconds[layer] for layer in run) for run in runs)
    for borders in itertools.combinations(range(1, len(seconds)), count - 1):
        stops = [0, *borders, len(seconds)]
        assert slowest <= max(sum(seconds[a:b]) for a, b in itertools.pairwise(stops))


def test_the_batch_of_a_part_has_its_negatives() -> None:
    encoder = ff.label_encoders.Overlay(3)
    batch = ff.negatives.RandomLabel()(torch.rand(5, 12), torch.arange(5) % 3, encoder, None, None)
    part = batch.part(slice(1, 3))
    rows = batch.inputs.joined()
    assert torch.equal(part.inputs.joined(), rows[[1, 2, 6, 7]])
    assert part.targets.tolist() == [1, 2]


@pytest.mark.parametrize("kind", equality.KINDS)
def test_micro_batches_are_refused(kind: str, ranks: Ranks) -> None:
    with pytest.raises(ValueError, match="micro_batch_size must be None for .* training, got 4"):
        fit(per_class(), equality.KINDS[kind](ranks), micro_batch_size=4)


def test_views_and_averages_of_all_weights_are_refused_in_a_pipeline(ranks: Ranks) -> None:
    with pytest.raises(ValueError, match="views must be None in a pipeline"):
        fit(per_class(views=ff.views.Mirror()), Pipeline(ranks))
    with pytest.raises(ValueError, match="callbacks must not contain WeightAverage with a Pipeline"):
        fit(per_class(), Pipeline(ranks), callbacks=[ff.training.WeightAverage()])


def test_a_share_is_computed_layer_by_layer(ranks: Ranks) -> None:
    half = RankShare(DataParallel(ranks), slice(0, 2), 0.5)
    batch = torch.rand(4, 12).double(), torch.arange(4) % 3
    optimizer = ff.LocalOptimizer(torch.optim.SGD, lr=0.1)
    with pytest.raises(ValueError, match="micro_batches must be None for a share of a batch"):
        per_class().step(batch, optimizer, share=half, micro_batches=ff.step.MicroBatches(2))
    with pytest.raises(ValueError, match="whole_step must be None for a share of a batch"):
        per_class().step(batch, optimizer, share=half, whole_step=ff.step.WholeStep())


@pytest.mark.parametrize(("first", "numbers"), [("normalize", 2 * (12 + 8)), ("transform", 4 * (8 + 7))])
def test_batch_statistics_are_sent_backward_only_where_a_gradient_goes(first: str, numbers: int, ranks: Ranks) -> None:
    """A layer that begins with the normalization passes no gradient to its input."""
    orders = {"normalize": ff.layers.NORMALIZE_FIRST, "transform": ff.layers.TRANSFORM_FIRST}
    layers = (ff.FFLinear(12, 8, order=orders[first]), ff.FFLinear(8, 7, order=orders[first]))
    goodness, normalization = ff.goodness.LearnedProjection(3), ff.normalization.BatchNorm(affine=True)
    model = ff.FFSequential(*layers, goodness=goodness, loss=ff.losses.CrossEntropy(), normalization=normalization)
    history = fit(model.double(), DataParallel(ranks))
    assert ranks.bytes_sent["statistics"] == history[0]["steps"] * numbers * 8


def test_the_figures_of_a_step_do_not_keep_its_gradients(ranks: Ranks) -> None:
    """The figures of an epoch are kept until they are averaged."""
    share = RankShare(DataParallel(ranks), slice(0, 4), 1.0)
    batch = torch.rand(4, 12).double(), torch.arange(4) % 3
    result = per_class().step(batch, ff.LocalOptimizer(torch.optim.SGD, lr=0.1), share=share)
    weights = 12 * 8
    assert all(local.loss.untyped_storage().nbytes() < weights for local in result.layers.values())


needs_shards = pytest.mark.skipif(not equality.CAN_SHARD, reason="an old torch")


def sharded(ranks: Ranks) -> DataParallel:
    """Data-parallel training of sharded layers."""
    return DataParallel(ranks, shard=True)


@needs_shards
def test_what_needs_all_weights_is_refused_with_sharded_layers(ranks: Ranks) -> None:
    with pytest.raises(ValueError, match="callbacks must not contain WeightAverage with a DataParallel"):
        fit(per_class(), sharded(ranks), callbacks=[ff.training.WeightAverage()])
    with pytest.raises(ValueError, match="optimizer must update sharded .*SGD.*fused=True"):
        fit(per_class(), sharded(ranks), optimizer=ff.LocalOptimizer(torch.optim.SGD, lr=0.1, fused=True))
    model = per_class()
    model[1].block.float()
    with pytest.raises(ValueError, match="the parameters of layer 1 must have one dtype to be sharded"):
        sharding.check_shardable(model, ranks)
    model = ff.FFSequential(
        ff.FFLinear(12, 12), ff.FFLinear(12, 12), goodness=ff.goodness.SumOfSquares(), loss=ff.losses.SymBa(),
        label_encoder=ff.label_encoders.Overlay(3),
    )  # fmt: skip
    model[1].block.weight = model[0].block.weight
    with pytest.raises(ValueError, match=r"block\.weight of layer 1 must not be a parameter of layer 0 too"):
        sharding.check_shardable(model, ranks)


def test_an_old_torch_cannot_shard(ranks: Ranks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu.Stream, "record_event", raising=False)
    with pytest.raises(ValueError, match="shard=True needs a newer torch"):
        fit(per_class(), sharded(ranks))


@needs_shards
def test_collected_layers_are_as_before(ranks: Ranks) -> None:
    """Also with an optimizer that updates all parameters in one kernel, and a threshold, which is not sharded."""
    parallel, optimizer = sharded(ranks), ff.LocalOptimizer(torch.optim.Adam, lr=0.01, fused=True)
    torch.manual_seed(0)
    model = equality.pair()
    single = copy.deepcopy(model)
    fit(model, parallel, optimizer=optimizer)
    assert all(isinstance(p, DTensor) == bool(p.dim()) for p in model.parameters())
    with pytest.raises(ValueError, match=r"model must have all weights: call collect\(model\)"):
        fit(model, None)
    with pytest.raises(ValueError, match="network must be that of the last training"):
        parallel.collect(single)
    with pytest.raises(ValueError, match="the model of the training before must be collected first"):
        fit(single, parallel)
    parallel.collect(model)
    other = ff.LocalOptimizer(torch.optim.Adam, lr=0.01, fused=True)
    fit(single, None, optimizer=other)
    for network, local in ((model, optimizer), (single, other)):  # with the states of the optimizers
        network.load_state_dict(network.state_dict())
        fit(network, None, optimizer=local)
    assert difference(model, single) < 1e-12
    assert difference(pickle.loads(pickle.dumps(model)), single) < 1e-12
