"""The data set `imdb`."""

from __future__ import annotations

import copy
import email.message
import hashlib
import importlib
import io
import os
import sys
import tarfile
import urllib.request
import urllib.response
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from forwardforward._utils.files import sole_process
from forwardforward.data import load
from forwardforward.data.text import (
    MeanVectors,
    NGrams,
    Representation,
    Word2Vec,
    WordSequence,
    text_encoder_from_state,
)

imdb = importlib.import_module("forwardforward.data.sources.imdb")  # the package also has a function of this name
SMALL = MeanVectors(Word2Vec(size=8, min_count=1, epochs=3))


def test_parts(reviews: Path) -> None:
    splits = load("imdb", reviews, representation=WordSequence(50, 12), progress=False)
    assert (splits.name, splits.num_classes, splits.input_shape) == ("imdb", 2, (12,))
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [40, 8, 16]
    assert [part.targets.bincount().tolist() for part in (splits.train, splits.validation)] == [[20, 20], [4, 4]]
    official = splits.train_and_validation
    assert official.targets.tolist() == [0] * 24 + [1] * 24
    torch.testing.assert_close(splits.validation.inputs, torch.cat((official.inputs[20:24], official.inputs[44:])))
    assert splits.class_names == splits.train.class_names == splits.test.class_names == ("negative", "positive")


@pytest.mark.parametrize("representation", [NGrams(50, 2, 12, 1), MeanVectors(Word2Vec(size=8, min_count=1))], ids=str)
def test_new_texts(reviews: Path, representation: Representation, tmp_path: Path) -> None:
    if isinstance(representation, MeanVectors):
        pytest.importorskip("gensim")
    splits = load("imdb", reviews, representation=representation, progress=False)
    assert splits.text_encoder is not None
    first = next((reviews / "aclImdb" / "test" / "neg").glob("24_*.txt")).read_text(encoding="utf-8")
    torch.testing.assert_close(splits.text_encoder([first]), splits.test.inputs[:1])
    torch.save(splits.text_encoder.state(), tmp_path / "encoder.pt")
    loaded = text_encoder_from_state(torch.load(tmp_path / "encoder.pt", weights_only=True))
    assert torch.equal(loaded([first]), splits.test.inputs[:1])


def test_other_data_sets_have_no_text_encoder() -> None:
    pytest.importorskip("sklearn")
    assert load("digits").text_encoder is None


def test_the_default_is_mean_vectors(reviews: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gensim")
    monkeypatch.setattr("forwardforward.data.sources.MeanVectors", lambda: SMALL)
    splits = load("imdb", reviews, progress=False)
    assert splits.input_shape == (8,)
    assert len(list(reviews.glob("word2vec-*.bin"))) == 1


def test_progress_on_every_long_step(reviews: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gensim")
    load("imdb", reviews, representation=SMALL)
    shown = capsys.readouterr().err
    for step in ("training reviews", "test reviews", "unlabeled reviews", "Word2Vec: counting", "Word2Vec: epoch 3/3"):
        assert step in shown


def test_bad_input(tmp_path: Path, reviews: Path) -> None:
    missing = r"^the data set 'imdb' is not in .*: missing the folder aclImdb; pass download=True to download it$"
    with pytest.raises(FileNotFoundError, match=missing):
        load("imdb", tmp_path / "nowhere")
    with pytest.raises(ValueError, match="representation must be None for digits, which has no texts, got NGrams"):
        load("digits", representation=NGrams())
    with pytest.raises(TypeError, match=r"representation must be an instance, such as NGrams\(\.\.\.\), got the class"):
        load("imdb", reviews, representation=NGrams)
    for file in (reviews / "aclImdb" / "train" / "neg").glob("?_2.txt"):
        file.unlink()
    for file in (reviews / "aclImdb" / "train" / "neg").glob("1?_2.txt"):
        file.unlink()
    with pytest.raises(ValueError, match="must have at least 5 training reviews per class, got 4"):
        load("imdb", reviews, representation=WordSequence(), progress=False)


@pytest.mark.parametrize("vectors", [Word2Vec(), "missing.txt"], ids=str)
def test_missing_packages_and_files_are_reported_before_reviews_are_read(
    vectors: Word2Vec | str, reviews: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gensim.models", None)
    monkeypatch.setattr(imdb, "ReviewFolder", None)  # calling it raises another error
    with pytest.raises((ImportError, FileNotFoundError), match=r"^training Word2Vec needs gensim|missing.txt does not"):
        load("imdb", reviews, representation=MeanVectors(vectors), progress=False)
    (reviews / "other").write_text("the 0,1 0,2\n")
    with pytest.raises(ValueError, match="line 1 must be a word and its numbers"):
        load("imdb", reviews, representation=MeanVectors(reviews / "other"), progress=False)


def archive(root: Path, write_reviews: Callable[[Path], Path]) -> Path:
    folder = write_reviews(root / "reviews")
    with tarfile.open(root / imdb.ARCHIVE, "w:gz") as tar:
        tar.add(folder, "aclImdb")
    return root / imdb.ARCHIVE


Serve = Callable[[int, bytes, dict[str, str]], list[str]]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Return a function that sets the answer of each server, and returns the list of requested addresses."""

    def answer(status: int, content: bytes, headers: dict[str, str]) -> list[str]:
        requested: list[str] = []

        def open_(handler: object, request: urllib.request.Request) -> urllib.response.addinfourl:
            requested.append(request.full_url)
            message = email.message.Message()
            for name, value in headers.items():
                message[name] = value
            response = urllib.response.addinfourl(io.BytesIO(content), message, request.full_url, status)
            response.msg = ""
            return response

        monkeypatch.setattr(urllib.request.HTTPSHandler, "https_open", open_)
        monkeypatch.setattr(urllib.request.HTTPHandler, "http_open", open_)
        return requested

    return answer


def test_download(
    tmp_path: Path, write_reviews: Callable[[Path], Path], serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = archive(tmp_path, write_reviews)
    requested = serve(200, file.read_bytes(), {})
    with pytest.raises(
        ConnectionError,
        match=r"could not download .*must have the SHA-256 checksum c40f74a18d3b61f90feb.*; without a network, ",
    ):
        load("imdb", tmp_path / "data", download=True, progress=False)
    assert [path.name for path in (tmp_path / "data").iterdir()] == [imdb.ARCHIVE]
    assert requested == ["https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz"]
    monkeypatch.setattr(imdb, "SHA256", hashlib.sha256(file.read_bytes()).hexdigest())
    splits = load("imdb", tmp_path / "data", download=True, representation=WordSequence(50, 12), progress=False)
    assert len(requested) == 1  # the archive existed already
    assert len(splits.train_and_validation) == 48
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["aclImdb", imdb.ARCHIVE]
    serve(404, b"", {})
    with pytest.raises(ConnectionError, match=r"HTTP Error 404.*put the folder aclImdb of aclImdb_v1.tar.gz into DIR"):
        load("imdb", tmp_path / "other", download=True, representation=WordSequence(), progress=False)


@pytest.mark.parametrize("address", ["http://ai.stanford.edu/a.tar.gz", "file:///etc/hosts", "ftp://a.org/a.tar.gz"])
def test_only_https_is_used(address: str, tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    requested = serve(302, b"", {"location": address})
    with pytest.raises(ConnectionError, match="could not download the data set 'imdb'"):
        load("imdb", tmp_path, download=True, representation=WordSequence(), progress=False)
    assert requested == [imdb.URL]
    monkeypatch.setattr(imdb, "URL", address)
    with pytest.raises(ConnectionError, match="could not download the data set 'imdb' .*unknown url type"):
        load("imdb", tmp_path, download=True, representation=WordSequence(), progress=False)
    assert len(requested) == 1
    assert not list(tmp_path.iterdir())


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


MALICIOUS = [
    [member("{outside}/evil.txt")],
    [member("../evil.txt")],
    [member("aclImdb/../../evil.txt")],
    [member("aclImdb\\..\\..\\evil.txt")],
    [member("C:/evil.txt")],
    [member("aclImdb/C:evil.txt")],
    [member("evil.txt")],
    [member("aclImdb/train", tarfile.SYMTYPE, "{outside}"), member("aclImdb/train/evil.txt")],
    [member("aclImdb", tarfile.SYMTYPE, ".."), member("aclImdb/evil.txt")],
    [member("aclImdb/link", tarfile.LNKTYPE, "{outside}/secret.txt")],
    [member("aclImdb/link", tarfile.LNKTYPE, "../../outside/secret.txt")],
    [member("aclImdb/null", tarfile.CHRTYPE)],
    [member("aclImdb/disk", tarfile.BLKTYPE)],
    [member("aclImdb/pipe", tarfile.FIFOTYPE)],
]


@pytest.mark.parametrize("members", MALICIOUS, ids=lambda members: members[-1].name)
def test_archives_cannot_write_elsewhere_or_make_links(
    members: list[tarfile.TarInfo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside, data = tmp_path / "outside", tmp_path / "data"
    outside.mkdir()
    data.mkdir()
    (outside / "secret.txt").write_text("secret")
    with tarfile.open(data / imdb.ARCHIVE, "w:gz") as tar:
        tar.addfile(member("aclImdb", tarfile.DIRTYPE))
        for info in members:
            info = copy.copy(info)
            info.name, info.linkname = (text.format(outside=outside) for text in (info.name, info.linkname))
            info.size = 4 if info.isreg() else 0
            tar.addfile(info, io.BytesIO(b"evil") if info.isreg() else None)
    monkeypatch.setattr(imdb, "SHA256", hashlib.sha256((data / imdb.ARCHIVE).read_bytes()).hexdigest())
    with pytest.raises(ConnectionError, match="must contain only files and folders in aclImdb, got "):
        load("imdb", data, download=True, representation=WordSequence(), progress=False)
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*"))
    assert files == ["data", f"data/{imdb.ARCHIVE}", "outside", "outside/secret.txt"]
    assert (outside / "secret.txt").read_text() == "secret"


def test_unpacked_files_have_neither_special_permissions_nor_owners(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = member("aclImdb/run.txt")
    info.mode, info.uid, info.size = 0o6777, 12345, 4
    with tarfile.open(tmp_path / imdb.ARCHIVE, "w:gz") as tar:
        tar.addfile(info, io.BytesIO(b"text"))
    monkeypatch.setattr(imdb, "SHA256", hashlib.sha256((tmp_path / imdb.ARCHIVE).read_bytes()).hexdigest())
    with pytest.raises(FileNotFoundError, match="must contain the folders neg and pos"):
        load("imdb", tmp_path, download=True, representation=WordSequence(), progress=False)
    status = (tmp_path / "aclImdb" / "run.txt").stat()
    assert not status.st_mode & 0o7111
    assert status.st_uid == tmp_path.stat().st_uid


def test_an_interrupted_unpacking_is_repeated_and_leaves_nothing(
    tmp_path: Path, write_reviews: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    (data / ".aclImdb.part" / "train").mkdir(parents=True)  # as a killed process leaves it
    (data / ".aclImdb.part" / "train" / "0_1.txt").write_text("half a rev")
    content = archive(tmp_path, write_reviews).read_bytes()
    (data / imdb.ARCHIVE).write_bytes(content)
    monkeypatch.setattr(imdb, "SHA256", hashlib.sha256(content).hexdigest())
    with (
        sole_process(data / ".aclImdb.lock", "testing"),
        pytest.raises(ConnectionError, match=rf"process {os.getpid()} on .* is unpacking"),
    ):
        load("imdb", data, download=True, representation=WordSequence(50, 12), progress=False)
    splits = load("imdb", data, download=True, representation=WordSequence(50, 12), progress=False)
    assert len(splits.train_and_validation) == 48
    assert sorted(path.name for path in data.iterdir()) == ["aclImdb", imdb.ARCHIVE]
