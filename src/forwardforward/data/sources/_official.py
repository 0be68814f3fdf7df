"""Shared by the sources with an official test set: download, and a validation split of the training images."""

from __future__ import annotations

import hashlib
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from forwardforward._utils.files import replacing
from forwardforward.data.splits import Splits
from forwardforward.data.tensors import TensorData

DIGITS = tuple("0123456789")


def download_files(data_set: str, download: Callable[[], object], instructions: str) -> None:
    """Call ``download``.

    Args:
        data_set: Name of the data set.
        download: Downloads the files.
        instructions: Which files to put where without a network, for the error message.

    Raises:
        ConnectionError: If the download fails.
    """
    try:
        download()
    except (OSError, RuntimeError, HTTPException) as error:
        reason = " ".join(str(error).split())
        raise ConnectionError(
            f"could not download the data set {data_set!r} ({reason}); without a network, put {instructions} "
            f"and pass data_dir=DIR"
        ) from error


def download_file(url: str, sha256: str, path: Path, progress: bool = True) -> None:
    """Download a file over https and check its content.

    Args:
        url: Address, which begins with https; a redirection to another protocol is refused.
        sha256: SHA-256 of the content.
        path: The file to write, which exists only with the right content; its folder is created.
        progress: Whether to show a progress bar.

    Raises:
        OSError: If the download fails or the file cannot be written.
        RuntimeError: If the content has another SHA-256.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with _open(url) as response, replacing(path, "wb") as file:
        total, name = getattr(response, "length", None), f"downloading {path.name}"
        with tqdm(total=total, desc=name, unit="B", unit_scale=True, disable=not progress) as bar:
            while block := response.read(2**20):
                file.write(block)
                digest.update(block)
                bar.update(len(block))
        if digest.hexdigest() != sha256:  # inside the block, so that nothing is written
            raise RuntimeError(f"{url} must have the SHA-256 {sha256}, got {digest.hexdigest()}")


class _OnlyHTTPS(urllib.request.HTTPRedirectHandler):
    """Follows redirections within https only."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if not newurl.startswith("https://"):
            raise OSError(f"{req.full_url} redirects to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(url: str) -> Any:
    if not url.startswith("https://"):
        raise ValueError(f"url must begin with https://, got {url}")
    request = urllib.request.Request(url, headers={"User-Agent": "forwardforward"})
    return urllib.request.build_opener(_OnlyHTTPS).open(request, timeout=60)


def last_as_validation(data_set: str, data_dir: Path, train: TensorData, test: TensorData, fraction: int) -> Splits:
    """Return splits whose validation split is the last ``1 / fraction`` of the training images, rounded down.

    Args:
        data_set: Name of the data set.
        data_dir: Folder of the data set, for the error message.
        train: Official training images.
        test: Official test images.
        fraction: Training images per validation image.

    Raises:
        ValueError: If the validation split would be empty.
    """
    border = len(train) - len(train) // fraction
    if border == len(train):
        raise ValueError(
            f"the data set {data_set!r} in {data_dir} must have at least {fraction} training images, got {len(train)}"
        )
    return Splits(data_set, train[:border], train[border:], test, train.num_classes, train.input_shape)
