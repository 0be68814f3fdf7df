"""Labelled reviews in folders, as the IMDb release lays them out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

__all__ = ["ReviewFolder", "Texts"]

#: Folders of the classes, in their order: class 0 is negative, class 1 positive.
CLASSES = ("neg", "pos")
UNLABELLED = "unsup"


class ReviewFolder:
    """A folder ``train``, ``test`` with ``neg``, ``pos`` in them, one text file a review.

    Unlabelled reviews in ``train/unsup`` are welcome. Files are numbered ``NUMBER_RATING.txt`` and come in the order
    of their numbers; files of other names follow, in the order of their names.

    Args:
        folder: Where it is.

    Raises:
        FileNotFoundError: If there is no such folder, or one of the four folders is missing.
        ValueError: If one of the four holds no review.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        folder = self.folder = Path(folder)
        if not folder.is_dir():
            raise FileNotFoundError(f"there is no folder {folder}")
        for part in ("train", "test"):
            missing = [name for name in CLASSES if not (folder / part / name).is_dir()]
            if missing:
                raise FileNotFoundError(
                    f"{folder / part} must hold the folders {' and '.join(CLASSES)} with one text file a review, "
                    f"found no {' and no '.join(missing)}"
                )
            for name in CLASSES:
                if not _files(folder / part / name):
                    raise ValueError(f"{folder / part / name} must hold reviews as .txt files, found none")

    def labelled(self, part: str) -> tuple[list[Path], list[int]]:
        """Return the files of ``"train"`` or ``"test"``, and their classes."""
        found = [(file, label) for label, name in enumerate(CLASSES) for file in _files(self.folder / part / name)]
        return [file for file, _ in found], [label for _, label in found]

    def unlabelled(self) -> list[Path]:
        """Return the files of the unlabelled reviews, none where there is no such folder."""
        return _files(self.folder / "train" / UNLABELLED)


class Texts:
    """The texts of files, read whenever somebody goes through them.

    Args:
        files: One text a file, in UTF-8.
        what: What they are, for the progress bar.
        progress: Whether to show one.

    Raises:
        ValueError: On reading, if a file is empty or not UTF-8.
    """

    def __init__(self, files: Sequence[Path], what: str = "texts", progress: bool = False) -> None:
        self.files = files
        self.what = what
        self.progress = progress

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.files)

    def __iter__(self) -> Iterator[str]:
        """Read one text after the other."""
        for file in tqdm(self.files, desc=f"reading {self.what}", unit=" texts", disable=not self.progress):
            yield _read(file)


def _read(file: Path) -> str:
    content = file.read_bytes()
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        byte = content[error.start]
        raise ValueError(f"{file} must be text in UTF-8, got the byte 0x{byte:02x} at offset {error.start}") from None
    if not text.strip():
        raise ValueError(f"{file} must hold a review, got an empty file")
    return text


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.txt"), key=_order)


def _order(file: Path) -> tuple[bool, int, str]:
    number = file.stem.partition("_")[0]
    known = number.isascii() and number.isdigit()
    return not known, int(number) if known else 0, file.name
