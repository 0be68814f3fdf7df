"""The archive of the reviews is unpacked into its folder only, and the encoder of a run on texts runs no code."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import os
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from forwardforward.data import load
from forwardforward.data.text import WordSequence
from forwardforward.recipes import get
from forwardforward.runs import Run, RunConfig
from forwardforward.training import CheckpointError

imdb = importlib.import_module("forwardforward.data.sources.imdb")  # the package also has a function of this name
PAYLOADS = ("parent folder", "absolute path", "link", "hard link", "file behind a link", "device")


def entry(name: str, content: bytes = b"", target: str | None = None, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = len(content), kind, target or ""
    return info


@pytest.mark.skipif(not hasattr(tarfile, "data_filter"), reason="this patch release of Python has no filters")
@pytest.mark.parametrize("payload", PAYLOADS)
def test_the_archive_of_reviews_writes_only_into_its_folder(
    payload: str, tmp_path: Path, write_reviews: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    data_dir, outside = tmp_path / "data", tmp_path / "outside"
    data_dir.mkdir()
    outside.mkdir()
    (outside / "secret").write_text("secret")
    reviews = write_reviews(tmp_path / "reviews")
    with tarfile.open(data_dir / imdb.ARCHIVE, "w:gz") as tar:
        tar.add(reviews, "aclImdb")
        if payload == "parent folder":
            tar.addfile(entry("aclImdb/../../../outside/written", b"1"), io.BytesIO(b"1"))
        elif payload == "absolute path":
            tar.addfile(entry(str(outside / "written"), b"1"), io.BytesIO(b"1"))
        elif payload == "link":
            tar.addfile(entry("aclImdb/link", target=str(outside / "secret"), kind=tarfile.SYMTYPE))
        elif payload == "hard link":
            tar.addfile(entry("aclImdb/link", target="../../../outside/secret", kind=tarfile.LNKTYPE))
        elif payload == "file behind a link":
            tar.addfile(entry("aclImdb/link", target="../../../outside", kind=tarfile.SYMTYPE))
            tar.addfile(entry("aclImdb/link/written", b"1"), io.BytesIO(b"1"))
        else:
            tar.addfile(entry("aclImdb/fifo", kind=tarfile.FIFOTYPE))
    archive = (data_dir / imdb.ARCHIVE).read_bytes()
    monkeypatch.setattr(imdb, "MD5", hashlib.md5(archive).hexdigest())
    is_harmless = payload == "absolute path"  # the filter makes it relative
    with contextlib.nullcontext() if is_harmless else pytest.raises(Exception, match="link|written|fifo"):
        load("imdb", data_dir, download=True, representation=WordSequence(50, 12), progress=False)
    assert os.listdir(outside) == ["secret"]
    assert (outside / "secret").stat().st_nlink == 1
    assert (data_dir / "aclImdb").exists() == is_harmless


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.mark,)


def test_the_text_encoder_of_a_run_runs_no_code(reviews: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    recipe = get("imdb-sequence")
    splits = load("imdb", reviews, representation=WordSequence(50, 12), progress=False)
    run = Run.create(tmp_path / "run", RunConfig.from_recipe(recipe, "imdb", data_dir=str(reviews)), splits=splits)
    path = run.folder / "text_encoder.pt"
    for content in (Payload(mark), {"kind": "WordSequence", "vectors": Payload(mark)}):
        torch.save(content, path)
        with pytest.raises(CheckpointError, match=r"text_encoder\.pt"):
            run.text_encoder()
        assert not mark.exists()
    pickle.loads(pickle.dumps(Payload(mark)))
    assert mark.exists()  # the payload does work
