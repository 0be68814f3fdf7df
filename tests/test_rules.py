"""The rules of updates compute the steps of torch's optimizers, for one parameter and for stacked ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import forwardforward as ff
from forwardforward.optimizers.rules import RULES, options_of

MEMBERS = 3

#: Options, and other values of some of them for each member.
CASES: list[tuple[Any, dict[str, Any], dict[str, list[Any]]]] = [
    (torch.optim.SGD, {}, {"weight_decay": [0.0, 0.1, 0.3]}),
    (torch.optim.SGD, {"momentum": 0.9, "dampening": 0.5, "maximize": True}, {"momentum": [0.0, 0.5, 0.9]}),
    (torch.optim.SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}, {"momentum": [0.1, 0.5, 0.9]}),
    (torch.optim.Adam, {"amsgrad": True, "weight_decay": 0.1}, {"betas": [(0.9, 0.999), (0.5, 0.9), (0.0, 0.99)]}),
    (torch.optim.AdamW, {"maximize": True, "weight_decay": 0.1}, {"eps": [1e-8, 1e-3, 1.0], "weight_decay": [0, 1, 2]}),
    (ff.optimizers.SmoothedSGD, {"weight_cost": 0.5}, {"weight_cost": [0.0, 0.5, 1.0]}),
]


@pytest.mark.parametrize("shape", [(4,), (4, 5)], ids=str)
@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-13), (torch.float32, 1e-6)], ids=str)
@pytest.mark.parametrize(("kind", "options", "differing"), CASES)
def test_rules_equal_torchs_optimizers(
    kind: Any,
    options: dict[str, Any],
    differing: dict[str, list[Any]],
    dtype: Any,
    error: float,
    shape: tuple[int, ...],
) -> None:
    torch.manual_seed(0)
    rule, rates = RULES[kind], [0.1, 0.03, 0.01]
    expected = [torch.nn.Parameter(torch.randn(shape, dtype=dtype)) for _ in range(MEMBERS)]
    optimizers = [
        kind([p], lr=rates[i], **{**options, **{name: values[i] for name, values in differing.items()}})
        for i, p in enumerate(expected)
    ]
    groups = [optimizer.param_groups[0] for optimizer in optimizers]
    alone = [p.detach().clone() for p in expected]
    of_each = [
        {**options_of(optimizer, group), "lr": torch.tensor(group["lr"], dtype=torch.float64)}
        for optimizer, group in zip(optimizers, groups, strict=True)
    ]
    together = torch.stack(alone)
    of_all = options_of(optimizers[0], groups[0], stacked=True)
    for name in ("lr", "momentum", "weight_decay", "beta1", "beta2", "eps", "weight_cost"):
        if name in of_each[0]:
            values = torch.tensor([float(member[name]) for member in of_each], dtype=torch.float64)
            of_all[name] = values.view(-1, *[1] * len(shape))
    states = [rule.initial_state(p, member) for p, member in zip(alone, of_each, strict=True)]
    state = rule.initial_state(together, of_all)
    for _ in range(4):
        gradients = torch.randn(together.shape, dtype=dtype)
        for index, optimizer in enumerate(optimizers):
            expected[index].grad = gradients[index].clone()
            optimizer.step()
            rule.update(alone[index], gradients[index].clone(), states[index], of_each[index])
        rule.update(together, gradients, state, of_all)
    for index, p in enumerate(expected):
        torch.testing.assert_close(alone[index], p.detach(), rtol=error, atol=error)
        torch.testing.assert_close(together[index], p.detach(), rtol=error, atol=error)
