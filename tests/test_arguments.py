"""Checks of arguments by their annotations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import forwardforward as ff
from forwardforward._utils.annotations import describe
from forwardforward._utils.arguments import (
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Probability,
    Range,
    StrPath,
    checked,
)


@checked
def function(
    count: PositiveInt = 1,
    rate: PositiveFloat = 1.0,
    share: Probability = 0.5,
    order: Annotated[float, Range(1, finite=False)] = 2.0,
    kind: Literal["mean", "max"] = "mean",
    fill: float | Literal["mean"] = 0.0,
    flag: bool = False,
    name: str = "",
    goodness: Callable[[Tensor], Tensor] | None = None,
    factory: Callable[..., nn.Module] = nn.Linear,
    module: nn.Module | None = None,
    size: PositiveInt | tuple[PositiveInt, PositiveInt] = 1,
    widths: tuple[NonNegativeInt, ...] = (),
    shape: Sequence[int] | None = None,
    path: StrPath | None = None,
    factors: Mapping[str, PositiveFloat] | None = None,
    layers: slice = slice(None),
    anything: Any = None,
    **others: Any,
) -> dict[str, Any]:
    """Return the arguments."""
    return locals()


class Incomplete(ff.goodness.Goodness):
    """A goodness without ``forward``."""


class Uninitialized(nn.Module):
    """A module whose constructor does not call that of its base class."""

    def __init__(self) -> None:
        pass


def two(a: Tensor, b: Tensor) -> Tensor:
    return a + b


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"count": 0}, ValueError, "count must be at least 1, got 0"),
        ({"count": True}, TypeError, "count must be a whole number, got True"),
        ({"count": 1.0}, TypeError, "count must be a whole number, got 1.0"),
        ({"count": None}, TypeError, "count must be a whole number, got None"),
        (
            {"count": torch.tensor(True)},
            TypeError,
            "count must be a whole number, got a tensor of torch.bool",
        ),
        ({"count": 2**63}, ValueError, f"count must be a whole number of at most 64 bits, got {2**63}"),
        ({"count": 10**5000}, ValueError, "count must be a whole number of at most 64 bits, got a whole number of"),
        ({"rate": 0}, ValueError, "rate must be positive, got 0"),
        ({"rate": float("nan")}, ValueError, "rate must be a finite number, got nan"),
        ({"rate": float("inf")}, ValueError, "rate must be a finite number, got inf"),
        ({"rate": 10**400}, ValueError, "rate must be a finite number, got a whole number of 1329 bits"),
        ({"rate": "0.1"}, TypeError, "rate must be a number, got '0.1'"),
        ({"rate": True}, TypeError, "rate must be a number, got True"),
        ({"rate": 1j}, TypeError, "rate must be a number, got 1j"),
        ({"share": 1}, ValueError, "share must be in [0, 1), got 1"),
        ({"share": -0.1}, ValueError, "share must be in [0, 1), got -0.1"),
        ({"order": 0.5}, ValueError, "order must be at least 1, got 0.5"),
        ({"order": float("nan")}, ValueError, "order must be a finite number, got nan"),
        ({"kind": "min"}, ValueError, "kind must be 'mean' or 'max', got 'min'"),
        ({"kind": 1}, TypeError, "kind must be 'mean' or 'max', got 1"),
        ({"fill": "zero"}, ValueError, "fill must be a number or 'mean', got 'zero'"),
        ({"fill": None}, TypeError, "fill must be a number or 'mean', got None"),
        ({"fill": float("-inf")}, ValueError, "fill must be a finite number, got -inf"),
        ({"flag": 1}, TypeError, "flag must be True or False, got 1"),
        ({"name": b"a"}, TypeError, "name must be a string, got b'a'"),
        ({"goodness": 3}, TypeError, "goodness must be callable or None, got 3"),
        ({"goodness": nn.ReLU}, TypeError, "goodness must be an instance, such as ReLU(...), got the class"),
        ({"goodness": two}, TypeError, "goodness must be callable with 1 argument, got the function two with ("),
        ({"goodness": nn.Bilinear(1, 1, 1)}, TypeError, "goodness must be callable with 1 argument, got Bilinear("),
        (
            {"goodness": Incomplete()},
            TypeError,
            "goodness must implement forward(activations), got Incomplete",
        ),
        ({"factory": dict}, TypeError, "factory must be an instance, such as dict(...), got the class"),
        ({"module": nn.Linear}, TypeError, "module must be an instance, such as Linear(...), got the class"),
        ({"module": int}, TypeError, "module must be a module or None, got the class int"),
        ({"module": Uninitialized()}, TypeError, "module must call super().__init__() in its constructor, got Uninit"),
        ({"size": (1,)}, TypeError, "size must be a whole number or a pair of whole numbers, got (1,)"),
        ({"size": (1, 0)}, ValueError, "size[1] must be at least 1, got 0"),
        ({"widths": (3, -1)}, ValueError, "widths[1] must be at least 0, got -1"),
        ({"widths": "35"}, TypeError, "widths must be a sequence of whole numbers, got '35'"),
        ({"shape": 5}, TypeError, "shape must be a sequence of whole numbers or None, got 5"),
        ({"path": 5}, TypeError, "path must be a string, a path or None, got 5"),
        ({"factors": [1]}, TypeError, "factors must be a dictionary or None, got [1]"),
        ({"factors": {"a": 0}}, ValueError, "factors['a'] must be positive, got 0"),
        ({"factors": {1: 1}}, TypeError, "every key of factors must be a string, got 1"),
        ({"layers": 1}, TypeError, "layers must be a slice, got 1"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_wrong_arguments_are_refused_by_name(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as refusal:
        function(**arguments)
    assert str(refusal.value).startswith(message)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        ({"count": np.int64(3)}, 3),
        ({"count": torch.tensor(3)}, 3),
        ({"rate": np.float32(0.5)}, 0.5),
        ({"rate": 3}, 3),
        ({"order": float("inf")}, float("inf")),
        ({"fill": "mean"}, "mean"),
        ({"flag": np.True_}, True),
        ({"widths": [1, np.int32(2)]}, (1, 2)),
        ({"size": [2, 3]}, (2, 3)),
        ({"shape": torch.Size([2, 3])}, (2, 3)),
        ({"shape": range(2)}, range(2)),
        ({"factory": nn.Linear}, nn.Linear),
        ({"goodness": torch.relu}, torch.relu),
    ],
)
def test_accepted_numbers_become_pythons(arguments: Any, value: Any) -> None:
    [name] = arguments
    result = function(**arguments)[name]
    assert result == value
    assert type(result) is type(value) or isinstance(value, tuple)


def test_other_keywords_are_passed_on_and_unknown_arguments_reported_by_python() -> None:
    assert function(other=1)["others"] == {"other": 1}
    with pytest.raises(TypeError, match=r"Tensor|SumOfSquares.*|positional"):
        ff.goodness.TopK(1, 2)  # type: ignore[call-arg]


def test_a_dataclass_checks_copies_too() -> None:
    @checked
    @dataclass(frozen=True)
    class Point:
        x: PositiveFloat = 1.0

    with pytest.raises(ValueError, match="^x must be positive, got -1"):
        replace(Point(2.0), x=-1)


def test_subclasses_of_a_checked_class_are_checked_where_they_call_it() -> None:
    class Mine(ff.goodness.PerClassGoodness):
        def __init__(self, classes: Any) -> None:
            super().__init__(num_classes=classes)

        def forward(self, activations: Tensor) -> Tensor:
            return activations[:, : self.num_classes]

    with pytest.raises(TypeError, match="^num_classes must be a whole number, got 'ten'"):
        Mine("ten")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x" * 500, "'" + "x" * 79 + "..."),
        ("a\nb", r"'a\nb'"),
        (torch.ones(2, 3), "a tensor of torch.float32 and shape (2, 3)"),
        (np.ones(2), "an array of float64 and shape (2,)"),
        (object(), "an object of type object"),
        (nn.Sequential(nn.ReLU(), nn.ReLU()), "Sequential(...)"),
        (int, "the class int"),
        (two, "the function two"),
        ([10**5000], "an object of type list"),
    ],
    ids=range(9),
)
def test_descriptions_are_short_and_on_one_line(value: Any, text: str) -> None:
    assert describe(value) == text


def test_a_misspelt_name_of_an_argument_is_corrected() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU())
    for call, message in (
        (lambda: ff.from_module(module, 3, normalisation=None), r"FFSequential\(\) .* 'normalisation': did you mean"),
        (lambda: ff.fit(module, epoch=3), r"^fit\(\) .* 'epoch': did you mean 'epochs'\?$"),
        (lambda: ff.fit(module, colour=3), r"^fit\(\) got an unexpected keyword argument 'colour'$"),
    ):
        with pytest.raises(TypeError, match=message):
            call()
    with pytest.raises(ValueError, match=r"^name must be .*, got 'mnst-small': did you mean 'mnist-small'\?$"):
        ff.pretrained("mnst-small")
