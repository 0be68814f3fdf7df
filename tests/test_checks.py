"""Checks of values."""

from __future__ import annotations

import pytest
import torch

from forwardforward._utils.checks import all_finite


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("place", [0, 17, 59])
def test_one_value_that_is_not_finite(dtype: torch.dtype, place: int) -> None:
    values = torch.linspace(-1, 1, 60, dtype=dtype).reshape(3, 4, 5)
    assert all_finite(values)
    for value in (float("nan"), float("inf"), -float("inf")):
        changed = values.clone()
        changed.view(-1)[place] = value
        assert not all_finite(changed)


def test_values_whose_sum_overflows_and_no_values() -> None:
    assert all_finite(torch.full((4,), torch.finfo(torch.float32).max))
    assert all_finite(torch.empty(0, 3))
    assert all_finite(torch.ones(2, requires_grad=True))
