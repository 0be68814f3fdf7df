"""Update schedules: the groups of layers of every step."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwardforward import update_schedules
from forwardforward.update_schedules import Blocks, EndToEnd, Greedy, Group, Groups, Joint, Overlapping, Staggered

depths = st.integers(1, 12)
epochs = st.integers(1, 30)


def layers(groups: Groups) -> list[list[int]]:
    return [list(group.layers if isinstance(group, Group) else group) for group in groups]


@given(depth=depths, epoch=st.integers(0, 50), step=st.integers(0, 50))
def test_joint_and_end_to_end_return_the_same_groups_in_every_step(depth: int, epoch: int, step: int) -> None:
    assert layers(Joint()(depth, epoch, step, 51)) == [[layer] for layer in range(depth)]
    assert layers(EndToEnd()(depth, epoch, step, 51)) == [list(range(depth))]


@given(depth=depths, epochs=epochs)
def test_greedy_goes_from_layer_to_layer(depth: int, epochs: int) -> None:
    """One layer per epoch, in order; the numbers of epochs per layer differ by one at most."""
    if epochs < depth:
        with pytest.raises(
            ValueError, match=rf"epochs must be at least one per layer for Greedy\(\), got {epochs} for"
        ):
            Greedy()(depth, 0, 0, epochs)
        return
    active = []
    for epoch in range(epochs):
        groups = Greedy()(depth, epoch, 0, epochs)
        assert layers(groups) == layers(Greedy()(depth, epoch, 7, epochs))
        ((layer,),) = layers(groups)
        active.append(layer)
    assert active == sorted(active)
    counts = [active.count(layer) for layer in range(depth)]
    assert min(counts) >= 1
    assert max(counts) - min(counts) <= 1


TABLES = {
    (1, 3): [[[0], [1], [2]]],
    (2, 4): [[[0, 1], [2, 3]], [[0], [1, 2]]],
    (2, 5): [[[0, 1], [2, 3]], [[0], [1, 2], [3, 4]]],
    (3, 5): [[[0, 1, 2]], [[0], [1, 2, 3]], [[0, 1], [2, 3, 4]]],
    (3, 2): [[[0, 1]], [[0]]],
    (4, 4): [[[0, 1, 2, 3]], [[0]], [[0, 1]], [[0, 1, 2]]],
}


@pytest.mark.parametrize("alternate", ["epoch", "step"])
@pytest.mark.parametrize(("size", "depth"), TABLES)
def test_overlapping_groups_are_those_of_the_tables(size: int, depth: int, alternate: str) -> None:
    schedule = Overlapping(size, alternate)
    for counter in range(3 * size):
        for other in (0, 5):  # steps do not count between epochs; the steps of each epoch begin one phase later
            epoch, step, phase = (
                (counter, other, counter) if alternate == "epoch" else (other, counter, counter + other)
            )
            groups = schedule(depth, epoch, step, 99)
            assert layers(groups) == TABLES[size, depth][phase % min(size, depth)]
            assert all(group.objectives == group.layers[-1:] for group in groups)  # type: ignore[union-attr]


@given(depth=depths, size=st.integers(1, 6), alternate=st.sampled_from(["epoch", "step"]))
def test_overlapping_groups_end_at_every_layer_once_in_all_phases(depth: int, size: int, alternate: str) -> None:
    lasts: list[int] = []
    size = min(size, depth)  # a group contains at most all layers
    for phase in range(size):
        groups = layers(Overlapping(size, alternate)(depth, phase, 0, size))  # also with one step per epoch
        assert [layer for group in groups for layer in group] == list(range(sum(map(len, groups))))  # no gaps
        assert all(len(group) == size for group in groups[1:])
        assert all(0 < len(group) <= size for group in groups)
        assert depth - sum(map(len, groups)) < size  # the layers that are updated in the next phase
        lasts += [group[-1] for group in groups]
    assert sorted(lasts) == list(range(depth))  # every layer's objective counts once in as many phases


@given(depth=depths, size=st.integers(1, 6), epoch=st.integers(0, 9), step=st.integers(0, 9))
def test_overlapping_without_alternation_returns_one_group_per_layer(
    depth: int, size: int, epoch: int, step: int
) -> None:
    groups = Overlapping(size, None)(depth, epoch, step, 10)
    assert layers(groups) == [list(range(max(0, last - size + 1), last + 1)) for last in range(depth)]
    assert [list(group.objectives) for group in groups] == [[last] for last in range(depth)]  # type: ignore[union-attr]


@given(depth=depths, size=st.integers(1, 6), epoch=st.integers(0, 9), step=st.integers(0, 9))
def test_blocks_divide_the_layers_and_only_their_last_objective_counts(
    depth: int, size: int, epoch: int, step: int
) -> None:
    groups = Blocks(size)(depth, epoch, step, 10)
    expected = [[layer for layer in range(depth) if layer // size == block] for block in range(-(-depth // size))]
    assert layers(groups) == expected
    assert [list(group.objectives) for group in groups] == [block[-1:] for block in expected]  # type: ignore[union-attr]


@given(depth=depths, epochs=epochs, seed=st.integers(0, 2**16))
def test_staggered_layers_are_updated_inside_their_windows(depth: int, epochs: int, seed: int) -> None:
    source = random.Random(seed)
    edges = [sorted(source.sample(range(21), 2)) for _ in range(depth)]
    windows = [(start / 20, end / 20) for start, end in edges]
    schedule = Staggered(windows)
    for epoch in range(epochs):
        middle = (epoch + 0.5) / epochs
        expected = [[layer] for layer, (start, end) in enumerate(windows) if start <= middle < end]
        assert layers(schedule(depth, epoch, 0, epochs)) == expected
        assert layers(schedule(depth, epoch, 3, epochs)) == expected


@given(depth=st.integers(2, 12), share=st.floats(0.05, 1), epochs=st.integers(1, 60))
def test_evenly_staggered_windows_have_equal_lengths_and_distances(depth: int, share: float, epochs: int) -> None:
    """If they are longer than an epoch, every layer is updated in some epoch."""
    schedule = Staggered.evenly(depth, share)
    starts, ends = zip(*schedule.windows, strict=True)
    assert starts[0] == 0
    assert ends[-1] == pytest.approx(1)
    assert [end - start for start, end in schedule.windows] == pytest.approx([share] * depth)
    gaps = [b - a for a, b in itertools.pairwise(starts)]
    assert gaps == pytest.approx([(1 - share) / (depth - 1)] * (depth - 1))
    active = [[layer for (layer,) in layers(schedule(depth, epoch, 0, epochs))] for epoch in range(epochs)]
    for layer in range(depth):
        window = [epoch for epoch in range(epochs) if layer in active[epoch]]
        assert window == list(range(window[0], window[-1] + 1) if window else [])
        if share * epochs > 1 + 1e-9:
            assert window
    for before, after in itertools.pairwise(active):
        if before and after:
            assert min(before) <= min(after)
            assert max(before) <= max(after)


def test_staggered_over_the_whole_training_is_joint() -> None:
    for depth in (1, 4):
        for epoch in range(5):
            assert Staggered.evenly(depth, 1.0)(depth, epoch, 0, 5) == Joint()(depth, epoch, 0, 5)


@pytest.mark.parametrize("window", [(-0.1, 0.5), (0.5, 1.1), (0.5, 0.5), (0.7, 0.2), (float("nan"), 1.0)], ids=str)
def test_windows_out_of_range_are_refused(window: tuple[float, float]) -> None:
    with pytest.raises(
        ValueError, match=r"^windows(\[1\]\[[01]\] must be (in|a finite)| must be pairs \(start, end\) with 0 <= start)"
    ):
        Staggered([(0.0, 1.0), window])


@pytest.mark.parametrize("windows", [0, 2, 4])
def test_another_number_of_windows_than_layers_is_refused(windows: int) -> None:
    with pytest.raises(ValueError, match=f"^windows must be one per layer, got {windows} for 3 layers"):
        Staggered([(0.0, 1.0)] * windows)(3, 0, 0, 10)


@pytest.mark.parametrize(("depth", "share"), [(3, 0.0), (3, 1.5), (1, 1.5), (3, -1.0)])
def test_shares_out_of_range_are_refused(depth: int, share: float) -> None:
    with pytest.raises(ValueError, match=f"^share must be in .* got {share}"):
        Staggered.evenly(depth, share)


SCHEDULES: list[Any] = [
    Joint(),
    Greedy(),
    EndToEnd(),
    Overlapping(),
    Overlapping(3, None),
    Staggered([(0, 0.5), (0.25, 1)]),
    Staggered.evenly(5, 0.3),
]


def test_reprs_are_the_same_in_every_process() -> None:
    """A checkpoint contains them, and a run may be resumed in another process."""
    for schedule in SCHEDULES:
        assert repr(eval(repr(schedule), vars(update_schedules))) == repr(schedule)
        assert " at 0x" not in repr(schedule)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_a_schedule_made_from_a_repr_returns_the_same_groups(schedule: Any) -> None:
    other = eval(repr(schedule), vars(update_schedules))
    depth = len(getattr(schedule, "windows", range(4)))
    for epoch in range(8):
        for step in range(3):
            assert other(depth, epoch, step, 8) == schedule(depth, epoch, step, 8)
