"""Handwritten film reviews in the folder layout of the IMDb release."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

THINGS = ("film", "plot", "acting", "music", "ending", "camera", "dialogue", "cast")
GOOD = ("A wonderful {}, truly moving.", "I loved the {}!", "The {} is superb<br /><br />and great fun.", "Great {}.")
BAD = ("A dreadful {}, truly boring.", "I hated the {}!", "The {} is awful<br /><br />and no fun.", "Terrible {}.")
NEITHER = ("We saw the {} on Monday.", "The {} of this film is from 1997.")
SENTENCES = {"pos": GOOD, "neg": BAD, "unsup": NEITHER}


def sentences(kind: str) -> list[str]:
    return [pattern.format(thing) for thing, pattern in itertools.product(THINGS, SENTENCES[kind])]


@pytest.fixture(scope="session")
def write_reviews() -> Callable[[Path], Path]:
    """Return a function that writes ``aclImdb``: 24 training and 8 test reviews per class, and 16 unlabeled ones."""

    def write(root: Path) -> Path:
        folder = root / "aclImdb"
        for kind in SENTENCES:
            for number, sentence in enumerate(sentences(kind)):
                part = "test" if kind != "unsup" and number >= 24 else "train"
                file = folder / part / kind / f"{number}_{ {'pos': 9, 'neg': 2, 'unsup': 0}[kind] }.txt"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(sentence, encoding="utf-8")
        return folder

    return write


@pytest.fixture
def reviews(tmp_path: Path, write_reviews: Callable[[Path], Path]) -> Path:
    """The folder with ``aclImdb``."""
    write_reviews(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def corpus_texts() -> tuple[list[str], list[str]]:
    """Training and test texts."""
    classes = [sentences("neg"), sentences("pos")]
    return [text for texts in classes for text in texts[:24]], [text for texts in classes for text in texts[24:]]
