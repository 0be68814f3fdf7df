"""Sources of data sets, one file per source.

A new source is a file with a function ``(data_dir, download) -> Splits`` and a line in ``SOURCES``. A source of texts
is a function ``(data_dir, download, representation, progress) -> Splits`` with a line in ``TEXT_SOURCES``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from forwardforward._utils.arguments import StrPath, checked
from forwardforward._utils.suggestions import did_you_mean
from forwardforward.data.sources.cifar import cifar10, cifar100
from forwardforward.data.sources.diabetes import diabetes
from forwardforward.data.sources.digit_pairs import digit_pairs
from forwardforward.data.sources.digits import digits
from forwardforward.data.sources.imdb import imdb, imdb_unlabeled
from forwardforward.data.sources.mnist import fashion_mnist, mnist
from forwardforward.data.sources.npz import npz
from forwardforward.data.sources.svhn import svhn
from forwardforward.data.splits import Splits
from forwardforward.data.text import MeanVectors, Representation, Texts

__all__ = ["available", "load", "unlabeled_texts"]

SOURCES: dict[str, Callable[[Path, bool], Splits]] = {
    "cifar10": cifar10,
    "cifar100": cifar100,
    "diabetes": diabetes,
    "digit-pairs": digit_pairs,
    "digits": digits,
    "fashion-mnist": fashion_mnist,
    "mnist": mnist,
    "svhn": svhn,
}
TEXT_SOURCES: dict[str, Callable[[Path, bool, Representation, bool], Splits]] = {"imdb": imdb}
UNLABELED_SOURCES: dict[str, Callable[[Path, bool], Texts]] = {"imdb": imdb_unlabeled}


def available() -> tuple[str, ...]:
    """Return the names of the data sets that :func:`load` can load."""
    return tuple(sorted((*SOURCES, *TEXT_SOURCES)))


@checked
def load(
    name: StrPath,
    data_dir: StrPath | None = None,
    download: bool | None = None,
    representation: Representation | None = None,
    progress: bool = True,
) -> Splits:
    """Load a data set by name, or from an ``.npz`` file.

    ================= ================ ====================== ============================================
    name              input            training/validation/   splits
                                       test samples
    ================= ================ ====================== ============================================
    ``digits``        (1, 8, 8)        1,077 / 360 / 360      fixed, stratified
    ``digit-pairs``   (1, 8, 16)       2,000 / 500 / 500      of the splits of ``digits``
    ``diabetes``      (10,)            264 / 89 / 89          fixed, stratified by the target
    ``mnist``         (1, 28, 28)      50,000/10,000/10,000   official test set; validation = the last
    ``fashion-mnist`` (1, 28, 28)      50,000/10,000/10,000   sixth of the official training images
    ``cifar10``       (3, 32, 32)      45,000/5,000/10,000    official test set; validation = the last
    ``cifar100``      (3, 32, 32)      45,000/5,000/10,000    tenth of the official training images
    ``svhn``          (3, 32, 32)      65,932/7,325/26,032    (SVHN's split "extra" is not used)
    ``imdb``          (200,), or set   20,000/5,000/25,000    official test set; validation = the last
                      by                                      fifth of each class of the training reviews
                      representation
    path of ``.npz``  as in the file   60 / 20 / 20 %         arrays x, y; fixed, stratified
                                       5/6, 1/6 of training   arrays x_train, y_train, x_test, y_test
    ================= ================ ====================== ============================================

    Images are float32 in [0, 1]. CIFAR-10 and CIFAR-100 come from the binary or the pickled release, CIFAR-100 with its
    100 fine labels. The named data sets have their official class names. ``digit-pairs`` are two digits side by side
    with 10 labels each, whether a digit is one of the two, and ``diabetes`` has real-valued targets and features in
    their own units; see :mod:`forwardforward.targets`.

    In an ``.npz`` file, x has shape (N, D), (N, C, H, W), (N, H, W), which becomes (N, 1, H, W), or (N, H, W, C), which
    becomes (N, C, H, W): with at most 4 channels, and a height and width above 4. uint8 is divided by 255,
    floating-point values keep their scale. y has shape (N,) and contains integer labels from 0, or strings, whose
    sorted distinct values become the class names.

    The inputs of ``imdb`` are computed by the representation; see :mod:`forwardforward.data.text`.

    Args:
        name: One of :func:`available`, or the path of an ``.npz`` file.
        data_dir: Folder of the downloaded data sets. Default: ``$FORWARDFORWARD_DATA`` if set, else
            ``~/.cache/forwardforward``. Data sets of scikit-learn (digits, diabetes) and ``.npz`` files do not use it.
        download: Whether to download missing files. Default: True if ``data_dir`` is None.
        representation: Converts texts to inputs. Default: :class:`~forwardforward.data.text.MeanVectors`.
        progress: Whether to show progress bars while reading texts and training word vectors.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If the name is unknown, the files have unexpected contents, or a representation is set for a data
            set without texts.
        FileNotFoundError: If files are missing and may not be downloaded.
        ConnectionError: If the download fails.
        ImportError: If the source needs a package that is not installed.

    Example:
        >>> splits = load("digits")
        >>> len(splits.train), splits.input_shape, splits.class_names
        (1077, (1, 8, 8), ('0', '1', '2', '3', '4', '5', '6', '7', '8', '9'))
    """
    folder = _folder(data_dir)
    may_download = data_dir is None if download is None else download
    if isinstance(name, str) and name in TEXT_SOURCES:
        return TEXT_SOURCES[name](folder, may_download, representation or MeanVectors(), progress)
    if representation is not None:
        raise ValueError(f"representation must be None for {name}, which has no texts, got {representation}")
    source = SOURCES.get(name) if isinstance(name, str) else None
    if source is None:
        path = Path(name).expanduser()
        if path.suffix != ".npz" and len(path.parts) < 2:
            names = ", ".join(available())
            raise ValueError(
                f"name of the data must be one of {names} or the path of an .npz file, got {name!r}"
                f"{did_you_mean(str(name), available())}"
            )
        return npz(path)
    return source(folder, may_download)


@checked
def unlabeled_texts(name: StrPath, data_dir: StrPath | None = None, progress: bool = True) -> Texts:
    """Return the unlabeled texts of a data set, which are read in each iteration.

    Args:
        name: ``"imdb"``, whose 50,000 unlabeled reviews are those of its release.
        data_dir: Folder of the data set's files, which must be there; default: as for :func:`load`.
        progress: Whether to show a progress bar while reading.

    Raises:
        ValueError: If the data set has no unlabeled texts.
        FileNotFoundError: If the files are missing.
    """
    source = UNLABELED_SOURCES.get(str(name))
    if source is None:
        raise ValueError(f"name must be a data set with unlabeled texts, {', '.join(UNLABELED_SOURCES)}, got {name}")
    return source(_folder(data_dir), progress)


def _folder(data_dir: StrPath | None) -> Path:
    """Return the folder of downloaded data sets."""
    return Path(data_dir or os.environ.get("FORWARDFORWARD_DATA") or "~/.cache/forwardforward").expanduser()
