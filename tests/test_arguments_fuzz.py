"""Every public constructor refuses arguments of another kind than its signature declares, by the argument's name."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.robustness.interface import Subject, conforms, subjects
from tests.robustness.values import POOLS, evaluate

#: Values that no constructor could keep or count.
LEFT_OUT = {"itertools.repeat(0)", "Endless()", "range(10**12)"}
BAD = [value for values in POOLS.values() for value in values if value not in LEFT_OUT]


def constructors() -> list[Subject]:
    """Constructors that check their arguments; those of scikit-learn's estimators leave it to ``fit``."""
    return [
        subject
        for subject in subjects()
        if subject.category == "constructors"
        and hasattr(evaluate(subject.target).__init__, "__wrapped__")
        and "sklearn" not in subject.target
    ]


CONSTRUCTORS = constructors()
SLOTS = [
    (subject, name, hint)
    for subject in CONSTRUCTORS
    for name, hint, variable in subject.parameters
    if not variable and name in evaluate(subject.target).__init__.__wrapped__.__annotations__
]


def check(subject: Subject, name: str, hint: object, expression: str) -> None:
    value = evaluate(expression)
    accepts_infinity = any(getattr(limits, "finite", True) is False for limits in getattr(hint, "__metadata__", ()))
    is_wrong_number = isinstance(value, float) and (math.isnan(value) or (math.isinf(value) and not accepts_infinity))
    if conforms(value, hint) and not is_wrong_number:
        return
    constructor = evaluate(subject.target)
    positional = [evaluate(text) for key, text in subject.arguments if key.startswith("*")]
    named = {key: evaluate(text) for key, text in subject.arguments if not key.startswith("*")}
    with pytest.raises((TypeError, ValueError)) as caught:
        constructor(*positional, **{**named, name: value})
    message = str(caught.value)
    assert re.match(rf"{name}\b", message), f"{subject.target}({name}={expression}): {message}"
    assert "\n" not in message


@given(st.sampled_from(SLOTS), st.sampled_from(BAD))
@settings(max_examples=400)
def test_every_constructor_refuses_other_kinds_of_arguments_by_their_name(slot, expression):
    check(*slot, expression)


@pytest.mark.slow
@pytest.mark.parametrize("subject", CONSTRUCTORS, ids=lambda subject: subject.name)
def test_every_argument_of_every_constructor_refuses_every_value_of_another_kind(subject):
    for slot in SLOTS:
        if slot[0] is subject:
            for expression in BAD:
                check(*slot, expression)


def test_the_constructors_that_are_checked_are_many():
    assert len(CONSTRUCTORS) > 50
