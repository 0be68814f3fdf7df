"""IMDb: film reviews, positive or negative."""

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
FRACTION = 5  # one review of five is for validation


def imdb(data_dir: Path, download: bool, representation: Representation, progress: bool) -> Splits:
    """Film reviews, class 0 negative and 1 positive, from ``data_dir/aclImdb``; vectors are kept in ``data_dir``.

    The validation part is the last fifth of each class by the reviews' numbers. Reviews of one film stand together,
    so few films are in both parts, as none are in training and test set.

    Source: A. Maas et al., Learning word vectors for sentiment analysis, ACL 2011.
    """
    folder = data_dir / FOLDER
    if not folder.is_dir():
        if not download:
            raise FileNotFoundError(
                f"the data set 'imdb' is not in {data_dir}: found no folder {FOLDER}; pass download=True to download it"
            )
        by_hand = f"the folder {FOLDER} of {ARCHIVE} into DIR"
        download_files("imdb", lambda: _download(data_dir, progress), by_hand)
    reviews = ReviewFolder(folder)
    (train_files, train_labels), (test_files, test_labels) = (reviews.labelled(part) for part in ("train", "test"))
    corpus = Corpus(
        train=Texts(train_files, "training reviews", progress),
        test=Texts(test_files, "test reviews", progress),
        unlabelled=Texts(reviews.unlabelled(), "unlabelled reviews", progress),
        folder=data_dir,
        progress=progress,
    )
    encode = representation(corpus)
    parts = {"training": corpus.train, "test": corpus.test}
    encoded = tqdm(parts.items(), desc="encoding reviews", unit=" parts", disable=not progress)
    inputs = {name: encode(documents, name) for name, documents in encoded}
    entries = representation.entries
    both = TensorData(inputs["training"], torch.tensor(train_labels), 2, entries)
    train, validation = _parts(torch.tensor(train_labels), folder)
    return Splits(
        name="imdb",
        train=both[train],
        validation=both[validation],
        test=TensorData(inputs["test"], torch.tensor(test_labels), 2, entries),
        num_classes=2,
        input_shape=both.input_shape,
        file_order=torch.cat((train, validation)).argsort(),
        encode=encode,
    )


def _parts(labels: Tensor, folder: Path) -> tuple[Tensor, Tensor]:
    """Return which training reviews are to train on and which to validate on."""
    validation = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique():
        own = (labels == label).nonzero().squeeze(1)
        if len(own) < FRACTION:
            raise ValueError(f"{folder} must have {FRACTION} training reviews a class or more, got {len(own)}")
        validation[own[len(own) - len(own) // FRACTION :]] = True
    return (~validation).nonzero().squeeze(1), validation.nonzero().squeeze(1)


def _download(data_dir: Path, progress: bool) -> None:
    """Download the archive, unless it is there already, and unpack it whole or not at all."""
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
    found = hashlib.md5(archive.read_bytes()).hexdigest()
    if found != MD5:
        raise RuntimeError(f"{archive} must have the md5 {MD5}, got {found}; delete it to download it anew")
    unpacked = data_dir / f"{FOLDER}.part"
    shutil.rmtree(unpacked, ignore_errors=True)
    with tarfile.open(archive) as tar:
        if hasattr(tarfile, "data_filter"):  # early patch releases of Python 3.10 and 3.11 have none
            tar.extraction_filter = staticmethod(tarfile.data_filter)
        for member in tqdm(tar, desc="unpacking IMDb", unit=" files", disable=not progress):
            tar.extract(member, unpacked)
    os.replace(unpacked / FOLDER, data_dir / FOLDER)
    shutil.rmtree(unpacked, ignore_errors=True)
