"""IMDb: positive and negative film reviews."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import urllib.request
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from forwardforward._utils.files import replacing
from forwardforward.data.sources._official import download_files
from forwardforward.data.splits import Splits
from forwardforward.data.tensors import TensorData
from forwardforward.data.text import Corpus, Representation, ReviewFolder, Texts

__all__ = ["imdb"]

FOLDER = "aclImdb"
ARCHIVE = "aclImdb_v1.tar.gz"
URL = f"https://ai.stanford.edu/~amaas/data/sentiment/{ARCHIVE}"
MD5 = "7c2ac02c03563afcf9b574c7e56c153a"
FRACTION = 5  # one training review in five is for validation
CLASS_NAMES = ("negative", "positive")


def imdb(data_dir: Path, download: bool, representation: Representation, progress: bool) -> Splits:
    """Return film reviews, class 0 negative and 1 positive, from ``data_dir/aclImdb``.

    Word vectors trained on the reviews are saved in ``data_dir``. The validation split is the last fifth of each class
    in the order of the reviews' numbers. Reviews of the same film have neighboring numbers, so that few films are in
    both the training and the validation split, just as no film is in both the training and the test set.

    Source: A. Maas et al., Learning word vectors for sentiment analysis, ACL 2011.
    """
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
        unlabeled=Texts(reviews.unlabeled(), "unlabeled reviews", progress),
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
            urllib.request.urlopen(URL, timeout=60) as response,
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
    checksum = hashlib.md5(archive.read_bytes()).hexdigest()
    if checksum != MD5:
        raise RuntimeError(
            f"{archive} must have the MD5 checksum {MD5}, got {checksum}; delete it to download it again"
        )
    unpacked = data_dir / f"{FOLDER}.part"
    shutil.rmtree(unpacked, ignore_errors=True)
    with tarfile.open(archive) as tar:
        if hasattr(tarfile, "data_filter"):  # missing in early patch releases of Python 3.10 and 3.11
            tar.extraction_filter = staticmethod(tarfile.data_filter)
        for member in tqdm(tar, desc="unpacking IMDb", unit=" files", disable=not progress):
            tar.extract(member, unpacked)
    os.replace(unpacked / FOLDER, data_dir / FOLDER)
    shutil.rmtree(unpacked, ignore_errors=True)
