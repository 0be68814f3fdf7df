"""The deliberate mistakes that the tests must notice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import forwardforward
from tests.robustness.mistakes import MISTAKES

ROOT = Path(forwardforward.__file__).parent


def test_every_mistake_can_still_be_made() -> None:
    places = {mistake: (ROOT / mistake.file).read_text(encoding="utf-8").count(mistake.old) for mistake in MISTAKES}
    assert {mistake: count for mistake, count in places.items() if count != 1} == {}


def test_there_are_sixty_different_mistakes() -> None:
    assert max(Counter(MISTAKES).values()) == 1
    assert len(MISTAKES) == 60
    assert all(mistake.old != mistake.new for mistake in MISTAKES)
