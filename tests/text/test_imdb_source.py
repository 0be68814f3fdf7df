"""The data set `imdb`."""

from __future__ import annotations

import hashlib
import importlib
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

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


def archive(root: Path, write_reviews: Callable[[Path], Path]) -> Path:
    folder = write_reviews(root / "reviews")
    with tarfile.open(root / imdb.ARCHIVE, "w:gz") as tar:
        tar.add(folder, "aclImdb")
    return root / imdb.ARCHIVE


def test_download(tmp_path: Path, write_reviews: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    file = archive(tmp_path, write_reviews)
    monkeypatch.setattr(imdb, "URL", file.as_uri())
    with pytest.raises(
        ConnectionError, match=r"could not download .*must have the MD5 checksum 7c2ac02c.*; without a network, "
    ):
        load("imdb", tmp_path / "data", download=True, progress=False)
    monkeypatch.setattr(imdb, "MD5", hashlib.md5(file.read_bytes()).hexdigest())
    monkeypatch.setattr(imdb, "URL", "file:///no/such/file")  # the archive exists already
    splits = load("imdb", tmp_path / "data", download=True, representation=WordSequence(50, 12), progress=False)
    assert len(splits.train_and_validation) == 48
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["aclImdb", imdb.ARCHIVE]
    with pytest.raises(ConnectionError, match=r"put the folder aclImdb of aclImdb_v1.tar.gz into DIR"):
        load("imdb", tmp_path / "other", download=True, progress=False)
