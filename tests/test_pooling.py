"""Pooling of maps and sequences to rows."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from forwardforward.pooling import MeanPool, SequencePool, SpatialPool


def plain_loop(maps: torch.Tensor, size: int, kind: str) -> list[list[float]]:
    """Patch i of n along a side of L covers floor(i L / n) to ceil((i + 1) L / n): neighbours may overlap."""
    rows = []
    for sample in maps.tolist():
        row = []
        for channel in sample:
            height, width = len(channel), len(channel[0])
            for i in range(size):
                for j in range(size):
                    patch = [
                        channel[y][x]
                        for y in range(math.floor(i * height / size), math.ceil((i + 1) * height / size))
                        for x in range(math.floor(j * width / size), math.ceil((j + 1) * width / size))
                    ]
                    if kind == "max":
                        row.append(max(patch))
                    elif kind == "mean":
                        row.append(sum(patch) / len(patch))
                    else:
                        row.append(math.sqrt(sum(v * v for v in patch) / len(patch) + 1e-7))
        rows.append(row)
    return rows


@pytest.mark.parametrize("kind", ["mean", "max", "rms"])
@pytest.mark.parametrize(("size", "shape"), [(1, (4, 5)), (2, (4, 6)), (2, (5, 3)), (3, (7, 8)), (4, (4, 4))], ids=str)
def test_pooling_equals_a_plain_loop_over_patches(size: int, shape: tuple[int, int], kind: str) -> None:
    maps = torch.randn(2, 3, *shape, dtype=torch.float64)
    pool = SpatialPool(size, kind)
    rows = pool(maps)
    assert rows.shape == (2, 3 * size * size)
    expected = torch.tensor(plain_loop(maps, size, kind), dtype=torch.float64)
    torch.testing.assert_close(rows, expected, rtol=1e-12, atol=1e-12)


@given(seed=st.integers(0, 2**16), size=st.integers(1, 3), kind=st.sampled_from(["mean", "max", "rms"]))
def test_every_sample_and_channel_is_pooled_by_itself(seed: int, size: int, kind: str) -> None:
    """Permuting samples or channels permutes the rows; constant maps give their value; mean <= rms <= max."""
    generator = torch.Generator().manual_seed(seed)
    maps = torch.rand(4, 3, 5, 6, dtype=torch.float64, generator=generator)
    pool = SpatialPool(size, kind)
    rows, channels = torch.randperm(4, generator=generator), torch.randperm(3, generator=generator)
    pooled = pool(maps).view(4, 3, size * size)
    permuted = pool(maps[rows][:, channels]).view(4, 3, size * size)
    torch.testing.assert_close(permuted, pooled[rows][:, channels])
    torch.testing.assert_close(pool(torch.full_like(maps, 2.0)), torch.full_like(pooled.flatten(1), 2.0))
    mean, rms, largest = (SpatialPool(size, name)(maps) for name in ("mean", "rms", "max"))
    assert (mean <= rms).all()
    assert (rms <= largest + 1e-6).all()


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("kind", ["mean", "max", "rms"])
@pytest.mark.parametrize(("size", "length"), [(1, 5), (2, 6), (2, 5), (3, 8), (4, 4)], ids=str)
def test_sequences_are_pooled_as_maps_of_one_row(size: int, length: int, kind: str, channels_last: bool) -> None:
    """Segment i of n of a sequence of length L is floor(i L / n) to ceil((i + 1) L / n)."""
    sequences = torch.randn(2, 3, length, dtype=torch.float64)
    layout = sequences.transpose(1, 2) if channels_last else sequences
    rows = SequencePool(size, kind, channels_last)(layout)
    expected = []
    for sample in sequences.tolist():
        row = []
        for channel in sample:
            for i in range(size):
                segment = channel[math.floor(i * length / size) : math.ceil((i + 1) * length / size)]
                if kind == "max":
                    row.append(max(segment))
                elif kind == "mean":
                    row.append(sum(segment) / len(segment))
                else:
                    row.append(math.sqrt(sum(v * v for v in segment) / len(segment) + 1e-7))
        expected.append(row)
    assert rows.shape == (2, 3 * size)
    torch.testing.assert_close(rows, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["mean", "max", "rms"])
def test_gradients_are_exact_and_finite_at_zero(kind: str) -> None:
    maps = torch.randn(2, 2, 5, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(SpatialPool(2, kind), (maps,))
    dead = torch.zeros(2, 2, 4, 4, requires_grad=True)
    SpatialPool(2, kind)(dead).sum().backward()
    assert dead.grad.isfinite().all()
    sequences = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(SequencePool(2, kind, channels_last=True), (sequences,))
    dead = torch.zeros(2, 2, 4, requires_grad=True)
    SequencePool(2, kind)(dead).sum().backward()
    assert dead.grad.isfinite().all()


@pytest.mark.parametrize("pool", [SpatialPool, SequencePool])
def test_arguments_out_of_range_are_refused(pool: type[SpatialPool | SequencePool]) -> None:
    with pytest.raises(ValueError, match=r"^size must be in \[1, 4096\], got 0"):
        pool(0)
    with pytest.raises(ValueError, match="^kind must be 'mean', 'max' or 'rms', got 'min'"):
        pool(2, "min")


@pytest.mark.parametrize("shape", [(4, 6), (3, 4, 5), (2, 3, 4, 4, 4)], ids=str)
def test_only_maps_are_pooled_over_space(shape: tuple[int, ...]) -> None:
    with pytest.raises(
        ValueError, match=r"^activations must be \(rows, channels, height, width\) for SpatialPool, got \("
    ):
        SpatialPool()(torch.rand(shape))


@pytest.mark.parametrize("shape", [(4, 6), (2, 3, 4, 4)], ids=str)
def test_only_sequences_are_pooled_over_time(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"^activations must be \(rows, channels, length\) for SequencePool, got \("):
        SequencePool()(torch.rand(shape))
    with pytest.raises(ValueError, match=r"^activations must be \(rows, length, channels\) for SequencePool, got \("):
        SequencePool(channels_last=True)(torch.rand(shape))


def test_repr_shows_the_constructors_arguments() -> None:
    assert repr(SpatialPool(4)) == "SpatialPool(4)"
    assert repr(SpatialPool(2, "rms")) == "SpatialPool(2, kind='rms')"
    assert repr(SequencePool(4)) == "SequencePool(4)"
    assert repr(SequencePool(2, "rms", channels_last=True)) == "SequencePool(2, kind='rms', channels_last=True)"


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("height", "width", "size"), [(6, 4, 2), (6, 9, 3), (5, 4, 2), (4, 4, 1)])
def test_means_of_patches_and_their_gradient_are_torchs(
    height: int, width: int, size: int, channels_last: bool
) -> None:
    maps = torch.randn(2, 3, height, width, dtype=torch.float64)
    maps = maps.to(memory_format=torch.channels_last) if channels_last else maps
    maps.requires_grad_()
    ours, theirs = SpatialPool(size)(maps), torch.nn.functional.adaptive_avg_pool2d(maps, size).flatten(1)
    assert torch.equal(ours, theirs)
    weights = torch.randn_like(theirs)
    ours_gradient, expected = (torch.autograd.grad((rows * weights).sum(), maps)[0] for rows in (ours, theirs))
    torch.testing.assert_close(ours_gradient, expected, rtol=1e-12, atol=1e-12)
    assert ours_gradient.stride() == maps.stride() or size == 1 or height % size
    torch.autograd.gradcheck(SpatialPool(size, "rms"), maps.detach().abs().add(0.1).requires_grad_())
    per_map = torch.func.vmap(torch.func.grad(lambda x: (SpatialPool(size)(x) * weights[:1]).sum()))
    torch.testing.assert_close(per_map(maps.detach()[:, None]).flatten(0, 1)[:1], expected[:1], rtol=1e-12, atol=1e-12)


def test_the_mean_pool_takes_maps_of_any_size_sequences_and_rows() -> None:
    maps, small = torch.rand(2, 3, 5, 6), torch.rand(2, 3, 1, 4)
    torch.testing.assert_close(MeanPool(2)(maps), torch.tensor(plain_loop(maps, 2, "mean")))
    assert torch.equal(MeanPool(2)(small), SpatialPool(1)(small))  # not more patches than positions
    sequences = torch.rand(2, 4, 3)
    expected = [[sum(x) / 4 for x in zip(*positions, strict=True)] for positions in sequences.tolist()]
    torch.testing.assert_close(MeanPool(2)(sequences), torch.tensor(expected))
    rows = torch.rand(2, 3)
    assert torch.equal(MeanPool(2)(rows), rows)
    assert repr(MeanPool(3)) == "MeanPool(3)"
    with pytest.raises(ValueError, match=r"^activations must be maps .* for MeanPool, got shape \(2, 3, 4, 5, 6\)"):
        MeanPool()(torch.rand(2, 3, 4, 5, 6))
