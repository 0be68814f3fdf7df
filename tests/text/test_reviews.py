from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from forwardforward.data.text import ReviewFolder, Texts


def test_reviews_are_sorted_by_number(reviews: Path) -> None:
    folder = reviews / "aclImdb"
    (folder / "train" / "pos" / "another.txt").write_text("Good.")
    files, labels = ReviewFolder(folder).labeled("train")
    assert labels == [0] * 24 + [1] * 25
    assert [file.name for file in files[24:]] == [f"{number}_9.txt" for number in range(24)] + ["another.txt"]
    assert len(ReviewFolder(folder).unlabeled()) == 16
    shutil.rmtree(folder / "train" / "unsup")
    assert ReviewFolder(folder).unlabeled() == []


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"folder .*aclImdb does not exist"):
        ReviewFolder(tmp_path / "aclImdb")


def test_a_folder_without_classes(reviews: Path) -> None:
    shutil.rmtree(reviews / "aclImdb" / "test" / "pos")
    with pytest.raises(FileNotFoundError, match=r"test must contain the folders neg and pos .*, missing pos$"):
        ReviewFolder(reviews / "aclImdb")
    with pytest.raises(FileNotFoundError, match="train must contain .*, missing neg and pos$"):
        ReviewFolder(reviews)


def test_a_class_without_reviews(reviews: Path) -> None:
    for file in (reviews / "aclImdb" / "train" / "neg").iterdir():
        file.rename(file.with_suffix(".html"))
    with pytest.raises(ValueError, match=r"neg must contain reviews as \.txt files, got none"):
        ReviewFolder(reviews / "aclImdb")


@pytest.mark.parametrize("content", [b"", b" \n"])
def test_an_empty_review(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "7_1.txt"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"7_1\.txt must contain text, got an empty file"):
        list(Texts([file]))


def test_bytes_that_are_not_utf8(tmp_path: Path) -> None:
    file = tmp_path / "7_1.txt"
    file.write_bytes("Amélie".encode("latin-1"))
    with pytest.raises(ValueError, match=r"7_1\.txt must be text in UTF-8, got the byte 0xe9 at offset 2"):
        list(Texts([file]))


def test_hidden_files_are_left_out(reviews: Path) -> None:
    folder = ReviewFolder(reviews / "aclImdb")
    expected = folder.labeled("train"), folder.unlabeled()
    for name in ("train/neg/._0_2.txt", "train/pos/.hidden.txt", "train/unsup/._1_0.txt"):
        (reviews / "aclImdb" / name).write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")
    assert (
        ReviewFolder(reviews / "aclImdb").labeled("train"),
        ReviewFolder(reviews / "aclImdb").unlabeled(),
    ) == expected
    for file in (reviews / "aclImdb" / "test" / "neg").iterdir():
        file.rename(file.with_name(f"._{file.name}"))
    with pytest.raises(ValueError, match=r"neg must contain reviews as \.txt files, got none"):
        ReviewFolder(reviews / "aclImdb")


def test_byte_order_marks_are_left_out_and_null_characters_refused(tmp_path: Path) -> None:
    file = tmp_path / "7_1.txt"
    file.write_bytes("Amélie".encode("utf-8-sig"))
    assert list(Texts([file])) == ["Amélie"]
    file.write_bytes("film".encode("utf-16-le"))
    with pytest.raises(ValueError, match=r"7_1\.txt must be text in UTF-8, got a null character at offset 1"):
        list(Texts([file]))
    file.write_bytes("film".encode("utf-16"))
    with pytest.raises(ValueError, match=r"7_1\.txt must be text in UTF-8, got the byte 0xff at offset 0"):
        list(Texts([file]))
    file.write_bytes(b"\xef\xbb\xbf")
    with pytest.raises(ValueError, match="must contain text, got an empty file"):
        list(Texts([file]))


def test_reading_shows_progress_if_requested(reviews: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = ReviewFolder(reviews / "aclImdb").unlabeled()
    assert len(list(Texts(files))) == 16
    assert capsys.readouterr().err == ""
    assert len(list(Texts(files, "unlabeled reviews", progress=True))) == len(Texts(files))
    assert "reading unlabeled reviews: 100%" in capsys.readouterr().err
