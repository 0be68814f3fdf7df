"""Labeled reviews in the folder layout of the IMDb release."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from tqdm import tqdm

from forwardforward._utils.arguments import StrPath, checked

__all__ = ["ReviewFolder", "Texts"]

#: Folders of the classes, in their order: class 0 is negative, class 1 positive.
CLASSES = ("neg", "pos")
UNLABELED = "unsup"


@checked
class ReviewFolder:
    """Folders ``train`` and ``test``, each with folders ``neg`` and ``pos`` with one text file per review.

    ``train/unsup`` may contain unlabeled reviews. Files are named ``NUMBER_RATING.txt`` and sorted by number; files
    with other names follow, sorted by name. Hidden files, whose names begin with a dot, are left out.

    Args:
        folder: The folder with ``train`` and ``test``.

    Raises:
        FileNotFoundError: If the folder or one of the four folders of reviews does not exist.
        ValueError: If one of the four folders has no reviews.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for path in ("train/neg/0_2.txt", "train/pos/0_9.txt", "test/neg/0_1.txt", "test/pos/0_8.txt"):
        ...         Path(folder, path).parent.mkdir(parents=True)
        ...         _ = Path(folder, path).write_text("A film.")
        ...     files, labels = ReviewFolder(folder).labeled("train")
        >>> [file.name for file in files], labels
        (['0_2.txt', '0_9.txt'], [0, 1])
    """

    def __init__(self, folder: StrPath) -> None:
        folder = self.folder = Path(folder)
        if not folder.is_dir():
            raise FileNotFoundError(f"folder {folder} does not exist")
        for part in ("train", "test"):
            missing = [name for name in CLASSES if not (folder / part / name).is_dir()]
            if missing:
                raise FileNotFoundError(
                    f"{folder / part} must contain the folders {' and '.join(CLASSES)} with one text file per review, "
                    f"missing {' and '.join(missing)}"
                )
            for name in CLASSES:
                if not _files(folder / part / name):
                    raise ValueError(f"{folder / part / name} must contain reviews as .txt files, got none")

    @checked
    def labeled(self, part: Literal["train", "test"]) -> tuple[list[Path], list[int]]:
        """Return the files of ``"train"`` or ``"test"``, and their classes."""
        pairs = [(file, label) for label, name in enumerate(CLASSES) for file in _files(self.folder / part / name)]
        return [file for file, _ in pairs], [label for _, label in pairs]

    def unlabeled(self) -> list[Path]:
        """Return the files of the unlabeled reviews; the list is empty if their folder does not exist."""
        return _files(self.folder / "train" / UNLABELED)


@checked
class Texts:
    """The texts of files, which are read anew in each iteration.

    Args:
        files: Files in UTF-8, one text per file. A byte-order mark is left out.
        description: Description of the texts for the progress bar.
        progress: Whether to show a progress bar.

    Raises:
        ValueError: During iteration, if a file is empty, not UTF-8 or contains a null character.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "0_9.txt")
        ...     _ = file.write_text("A good film.")
        ...     list(Texts([file]))
        ['A good film.']
    """

    def __init__(self, files: Sequence[Path], description: str = "texts", progress: bool = False) -> None:
        self.files = files
        self.description = description
        self.progress = progress

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.files)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the texts."""
        for file in tqdm(self.files, desc=f"reading {self.description}", unit=" texts", disable=not self.progress):
            yield read_text(file)


def read_text(file: Path) -> str:
    """Return the text of a file in UTF-8.

    Args:
        file: The file.

    Raises:
        ValueError: If it is not a regular file, is empty, or is not text in UTF-8.
    """
    if file.exists() and not file.is_file():  # reading a pipe would not end
        raise ValueError(f"{file} must be a regular file")
    content = file.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        byte = content[error.start]
        raise ValueError(f"{file} must be text in UTF-8, got the byte 0x{byte:02x} at offset {error.start}") from None
    if "\0" in text:  # as in UTF-16, whose letters would become words
        raise ValueError(f"{file} must be text in UTF-8, got a null character at offset {text.index(chr(0))}")
    if not text.strip():
        raise ValueError(f"{file} must contain text, got an empty file")
    return text


def _files(folder: Path) -> list[Path]:
    # macOS writes the attributes of 0_9.txt to ._0_9.txt on file systems without attributes.
    files = (file for file in folder.glob("*.txt") if not file.name.startswith("."))
    return sorted(files, key=_order)


def _order(file: Path) -> tuple[bool, int, str]:
    number = file.stem.partition("_")[0]
    known = number.isascii() and number.isdigit()
    return not known, int(number) if known else 0, file.name
