"""Pooling of maps to few numbers a channel."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from forwardforward.pooling import SpatialPool


def written_out(maps: torch.Tensor, size: int, kind: str) -> list[list[float]]:
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
def test_patches(size: int, shape: tuple[int, int], kind: str) -> None:
    maps = torch.randn(2, 3, *shape, dtype=torch.float64)
    pool = SpatialPool(size, kind)
    found = pool(maps)
    assert found.shape == (2, pool.features(3)) == (2, 3 * size * size)
    torch.testing.assert_close(
        found, torch.tensor(written_out(maps, size, kind), dtype=torch.float64), rtol=1e-12, atol=1e-12
    )


@given(seed=st.integers(0, 2**16), size=st.integers(1, 3), kind=st.sampled_from(["mean", "max", "rms"]))
def test_pooling_belongs_to_sample_and_channel(seed: int, size: int, kind: str) -> None:
    """Permuting samples or channels permutes what comes of them; equal maps give their value; order: mean, rms, max."""
    generator = torch.Generator().manual_seed(seed)
    maps = torch.rand(4, 3, 5, 6, dtype=torch.float64, generator=generator)
    pool = SpatialPool(size, kind)
    rows, channels = torch.randperm(4, generator=generator), torch.randperm(3, generator=generator)
    found = pool(maps).view(4, 3, size * size)
    turned = pool(maps[rows][:, channels]).view(4, 3, size * size)
    torch.testing.assert_close(turned, found[rows][:, channels])
    torch.testing.assert_close(pool(torch.full_like(maps, 2.0)), torch.full_like(found.flatten(1), 2.0))
    mean, rms, largest = (SpatialPool(size, one)(maps) for one in ("mean", "rms", "max"))
    assert (mean <= rms).all()
    assert (rms <= largest + 1e-6).all()


@pytest.mark.parametrize("kind", ["mean", "max", "rms"])
def test_gradients(kind: str) -> None:
    maps = torch.randn(2, 2, 5, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(SpatialPool(2, kind), (maps,))
    dead = torch.zeros(2, 2, 4, 4, requires_grad=True)
    SpatialPool(2, kind)(dead).sum().backward()
    assert dead.grad.isfinite().all()


def test_arguments_out_of_range() -> None:
    with pytest.raises(ValueError, match="^size must be at least 1, got 0"):
        SpatialPool(0)
    with pytest.raises(ValueError, match="^kind must be one of mean, max, rms, got 'min'"):
        SpatialPool(2, "min")


@pytest.mark.parametrize("shape", [(4, 6), (3, 4, 5), (2, 3, 4, 4, 4)], ids=str)
def test_only_maps_are_pooled(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"^activations must be \(rows, channels, height, width\) to be pooled, got"):
        SpatialPool()(torch.rand(shape))


def test_repr() -> None:
    assert repr(SpatialPool(4)) == "SpatialPool(4)"
    assert repr(SpatialPool(2, "rms")) == "SpatialPool(2, kind='rms')"
