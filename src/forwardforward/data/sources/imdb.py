"""IMDb: positive and negative film reviews."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import urllib.request
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor
from tqdm import tqdm

from forwardforward._utils.files import replacing, sole_process
from forwardforward.data.sources._official import download_files
from forwardforward.data.splits import Splits
from forwardforward.data.tensors import TensorData
from forwardforward.data.text import Corpus, Representation, ReviewFolder, Texts

__all__ = ["imdb", "imdb_unlabeled"]

FOLDER = "aclImdb"
ARCHIVE = "aclImdb_v1.tar.gz"
URL = f"https://ai.stanford.edu/~amaas/data/sentiment/{ARCHIVE}"
SHA256 = "c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe"
FRACTION = 5  # one training review in five is for validation
CLASS_NAMES = ("negative", "positive")


def imdb(data_dir: Path, download: bool, representation: Representation, progress: bool) -> Splits:
    """Return film reviews, class 0 negative and 1 positive, from ``data_dir/aclImdb``.

    Word vectors trained on the reviews are saved in ``data_dir``. The validation split is the last fifth of each class
    in the order of the reviews' numbers. Reviews of the same film have neighboring numbers, so that few films are in
    both the training and the validation split, just as no film is in both the training and the test set.

    Source: A. Maas et al., Learning word vectors for sentiment analysis, ACL 2011.
    """
    representation.check_available(data_dir)
    folder = data_dir / FOLDER
    if not folder.is_dir():
        if not download:
            raise FileNotFoundError(
                f"the data set 'imdb' is not in {data_dir}: missing the folder {FOLDER}; "
                "pass download=True to download it"
            )
        instructions = f"the folder {FOLDER} of {ARCHIVE} into DIR"
        download_files("imdb", lambda: _download(data_dir, progress), instructions)
    reviews = ReviewFolder(folder)
    (train_files, train_labels), (test_files, test_labels) = (reviews.labeled(part) for part in ("train", "test"))
    corpus = Corpus(
        train=Texts(train_files, "training reviews", progress),
        test=Texts(test_files, "test reviews", progress),
        unlabeled=_unlabeled(reviews, progress),
        folder=data_dir,
        progress=progress,
    )
    text_encoder = representation(corpus)
    documents = (("training", corpus.train, train_labels), ("test", corpus.test, test_labels))
    official, test = (
        TensorData(text_encoder(texts, part), labels, 2, representation.num_embeddings, CLASS_NAMES)
        for part, texts, labels in tqdm(documents, desc="encoding reviews", unit=" splits", disable=not progress)
    )
    train, validation = _train_and_validation(torch.tensor(train_labels, device="cpu"), folder)
    return Splits(
        name="imdb",
        train=official[train],
        validation=official[validation],
        test=test,
        num_classes=2,
        input_shape=official.input_shape,
        file_order=torch.cat((train, validation)).argsort(),
        text_encoder=text_encoder,
    )


def imdb_unlabeled(data_dir: Path, progress: bool) -> Texts:
    """Return the unlabeled reviews of ``data_dir/aclImdb``.

    Raises:
        FileNotFoundError: If the folder is missing, or contains none.
    """
    texts = _unlabeled(ReviewFolder(data_dir / FOLDER), progress)
    if not len(texts):
        raise FileNotFoundError(f"{data_dir / FOLDER} must contain unlabeled reviews in train/unsup, got none")
    return texts


def _unlabeled(reviews: ReviewFolder, progress: bool) -> Texts:
    return Texts(reviews.unlabeled(), "unlabeled reviews", progress)


def _train_and_validation(labels: Tensor, folder: Path) -> tuple[Tensor, Tensor]:
    """Return the indices of the training reviews in the training and in the validation split."""
    validation = torch.zeros_like(labels, dtype=torch.bool)
    for label in labels.unique():
        members = (labels == label).nonzero().squeeze(1)
        if len(members) < FRACTION:
            raise ValueError(f"{folder} must have at least {FRACTION} training reviews per class, got {len(members)}")
        validation[members[len(members) - len(members) // FRACTION :]] = True
    return (~validation).nonzero().squeeze(1), validation.nonzero().squeeze(1)


def _download(data_dir: Path, progress: bool) -> None:
    """Download the archive if it is missing, and unpack it atomically."""
    data_dir.mkdir(parents=True, exist_ok=True)
    archive = data_dir / ARCHIVE
    if not archive.is_file():
        with (
            _https().open(URL, timeout=60) as response,
            replacing(archive, "wb") as file,
            tqdm(
                total=getattr(response, "length", None),
                desc="downloading IMDb",
                unit="B",
                unit_scale=True,
                disable=not progress,
            ) as bar,
        ):
            while block := response.read(2**20):
                file.write(block)
                bar.update(len(block))
    digest = hashlib.sha256()
    with open(archive, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    if digest.hexdigest() != SHA256:
        raise RuntimeError(
            f"{archive} must have the SHA-256 checksum {SHA256}, got {digest.hexdigest()}; delete it to download it "
            "again"
        )
    with sole_process(data_dir / f".{FOLDER}.lock", f"unpacking {archive}"):
        if (data_dir / FOLDER).is_dir():  # another process has unpacked it meanwhile
            return
        unpacked = data_dir / f".{FOLDER}.part"
        shutil.rmtree(unpacked, ignore_errors=True)  # of a killed process
        try:
            _unpack(archive, unpacked, progress)
            os.replace(unpacked, data_dir / FOLDER)
        finally:
            shutil.rmtree(unpacked, ignore_errors=True)


def _https() -> urllib.request.OpenerDirector:
    """Return an opener that refuses all other protocols, also after a redirection."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.UnknownHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    return opener


def _unpack(archive: Path, folder: Path, progress: bool) -> None:
    """Write the files of an archive's folder ``aclImdb`` to a new folder.

    Python 3.10.0 has no ``tarfile.data_filter`` that would keep them in the folder.

    Raises:
        RuntimeError: If it contains links or devices, or names outside ``aclImdb``.
    """
    folder.mkdir()
    with tarfile.open(archive) as tar:
        for member in tqdm(tar, desc="unpacking IMDb", unit=" files", disable=not progress):
            parts = PurePosixPath(member.name).parts
            is_plain = (member.isreg() or member.isdir()) and not {"\\", ":"} & set(member.name)  # Windows' separators
            if not is_plain or parts[:1] != (FOLDER,) or ".." in parts:
                raise RuntimeError(f"{archive} must contain only files and folders in {FOLDER}, got {member.name!r}")
            path = folder.joinpath(*parts[1:])
            if member.isdir():
                path.mkdir(parents=True, exist_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            content = tar.extractfile(member)
            assert content is not None  # a regular file
            with content, open(path, "wb") as file:
                shutil.copyfileobj(content, file)
