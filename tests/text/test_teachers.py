"""Unlabeled texts as training data, with the predictions of trained runs as targets."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from forwardforward.__main__ import main
from forwardforward.data import unlabeled_texts
from forwardforward.recipes import get, set_fields
from forwardforward.runs import Ensemble, Run, RunConfig
from forwardforward.runs.teachers import soft_labels
from forwardforward.training import CheckpointError

#: Representations and architectures of few words, by recipe.
SMALL = {
    "imdb-bag": {"representation": "NGrams(300, 2, 30, 1)", "architecture": "BagOfWords(300)"},
    "imdb-sequence": {"representation": "WordSequence(300, 12)", "architecture": "WordConvolutions(300)"},
}


@pytest.fixture(autouse=True)
def _keep_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def run(folder: Path, root: Path, name: str = "imdb-bag", **options: Any) -> Run:
    recipe = set_fields(get(name).for_dataset("imdb"), SMALL[name]).replace(widths=(12, 12), epochs=2, batch_size=8)
    config = RunConfig.from_recipe(recipe, "imdb", data_dir=str(root), threads=1, changes=SMALL[name], **options)
    return Run.create(folder, config)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, write_reviews: Callable[[Path], Path]) -> Path:
    """A folder with reviews and two teachers."""
    root = tmp_path_factory.mktemp("root")
    write_reviews(root)
    threads = torch.get_num_threads()
    for name in SMALL:
        teacher = run(root / name, root, name, validation=True)
        teacher.fit(progress=False)
    torch.set_num_threads(threads)
    return root


def test_the_targets_of_unlabeled_texts_are_the_mean_predictions_of_the_teachers(root: Path, tmp_path: Path) -> None:
    teachers = [root / name for name in SMALL]
    texts = list(unlabeled_texts("imdb", root, progress=False))
    expected = Ensemble(teachers).predict_proba(texts)
    student = run(tmp_path / "student", root, validation=True, teachers=tuple(str(root / name) for name in SMALL))
    train, labeled = student.training_data(), student.splits().train
    assert len(texts) == 16
    assert len(train) == len(labeled) + 16
    assert train.targets is not None
    torch.testing.assert_close(train.targets[-16:], expected)
    assert train.targets[: len(labeled)].argmax(1).tolist() == labeled.targets.tolist()
    assert train.targets[: len(labeled)].sum() == len(labeled)
    encoder = student.splits().text_encoder
    assert encoder is not None
    assert torch.equal(train.inputs[-16:], encoder(texts))
    summary = student.train(progress=False)
    assert (summary["teachers"], summary["train_samples"]) == (2, len(train))


def test_teachers_that_exclude_each_others_classes_have_a_mean() -> None:
    def teacher(scores: list[list[float]]) -> Any:
        network = SimpleNamespace(scores=lambda batch: torch.tensor(scores))
        return SimpleNamespace(load=lambda: network, text_encoder=lambda: lambda texts, name: torch.zeros(1, 2))

    excluding = [teacher([[0.0, -math.inf, -math.inf]]), teacher([[-math.inf, 0.0, -math.inf]])]
    torch.testing.assert_close(soft_labels(excluding, ["a text"]), torch.tensor([[0.5, 0.5, 0.0]]))


def test_a_student_needs_its_teachers_only_once(root: Path, tmp_path: Path) -> None:
    teacher = tmp_path / "teacher"
    shutil.copytree(root / "imdb-bag", teacher)
    student = run(tmp_path / "student", root, teachers=(str(teacher),))
    targets = student.training_data().targets
    shutil.rmtree(teacher)
    again = Run.open(tmp_path / "student")
    assert targets is not None
    assert torch.equal(again.training_data().targets, targets)  # type: ignore[arg-type]
    (tmp_path / "student" / "soft_labels.pt").write_bytes(b"PK")
    with pytest.raises(CheckpointError, match="soft_labels.pt: it is incomplete or corrupted"):
        Run.open(tmp_path / "student").training_data()


def test_a_changed_byte_of_the_soft_labels_is_noticed(root: Path, tmp_path: Path) -> None:
    student = run(tmp_path / "student", root, teachers=(str(root / "imdb-bag"),))
    targets = student.training_data().targets
    assert targets is not None
    path = tmp_path / "student" / "soft_labels.pt"
    content = bytearray(path.read_bytes())
    content[content.index(targets[-16:].numpy().tobytes()) + 1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="incomplete or corrupted .checksum of .* differs.; delete it to write"):
        Run.open(tmp_path / "student").training_data()


def test_teachers_that_saw_the_validation_split_are_refused(root: Path, tmp_path: Path) -> None:
    run(tmp_path / "teacher", root).fit(progress=False)
    with pytest.raises(ValueError, match="^teachers must have held out the validation split, as those of train --val"):
        run(tmp_path / "student", root, validation=True, teachers=(str(tmp_path / "teacher"),))
    assert not (tmp_path / "student").exists()
    other = run(tmp_path / "other", root, teachers=(str(tmp_path / "teacher"),))
    assert len(other.training_data()) == 48 + 16


def test_data_without_unlabeled_texts_are_refused(tmp_path: Path, one_line: Callable[..., str], root: Path) -> None:
    with pytest.raises(ValueError, match="^name must be a data set with unlabeled texts, imdb, got mnist"):
        unlabeled_texts("mnist")
    with pytest.raises(FileNotFoundError):
        unlabeled_texts("imdb", tmp_path)
    words = ["train", "digits", "--teacher", str(root / "imdb-bag"), "--out", str(tmp_path / "run")]
    line = one_line(main, words)
    assert "--teacher: teachers need a data set with unlabeled texts, imdb, got digits" in line


def test_teachers_that_do_not_fit_are_refused_before_the_data_are_read(
    root: Path, tmp_path: Path, one_line: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    digits, unfinished, everything = (tmp_path / name for name in ("digits", "unfinished", "everything"))
    recipe = get("mono").for_dataset("digits").replace(widths=(4, 4), epochs=1, batch_size=500)
    Run.create(digits, RunConfig.from_recipe(recipe, "digits", threads=1)).fit(progress=False)
    run(unfinished, root)
    run(everything, root).fit(progress=False)
    student = run(tmp_path / "student", root, teachers=(str(everything),))
    shutil.rmtree(everything)
    run(everything, root)  # no longer trained
    with monkeypatch.context() as patched:
        patched.setattr(Run, "splits", lambda *_, **__: pytest.fail("the data were read"))
        for folder, message in {
            digits: f"teachers must be runs on imdb, got {digits} on digits",
            unfinished: f"teachers must be trained runs, got {unfinished} without a finished epoch",
            tmp_path / "gone": "teachers must be trained runs: there is no run in",
        }.items():
            with pytest.raises((ValueError, FileNotFoundError), match=f"^{message}"):
                run(tmp_path / "new", root, teachers=(str(folder),))
            words = ["train", "imdb", "--teacher", str(folder), "--out", str(tmp_path / "new")]
            assert f"forwardforward: --teacher: {message}" in one_line(main, words)
        words = ["train", "imdb", "--teacher", str(everything), "--validation", "--out", str(tmp_path / "new")]
        assert "--teacher: teachers must have held out the validation split" in one_line(main, words)
        with pytest.raises(ValueError, match="^teachers must be trained runs, got .*everything without a finished"):
            Run.open(student.folder).fit(progress=False)


def test_the_command_line(root: Path, tmp_path: Path, one_line: Callable[..., str]) -> None:
    words = [
        "train",
        "imdb",
        "--data-dir",
        str(root),
        "--teacher",
        str(root / "imdb-bag"),
        "--out",
        str(tmp_path / "run"),
    ]
    words += ["--widths", "12,12", "--epochs", "1", "--set", "representation=NGrams(300, 2, 30, 1)", "--threads", "1"]
    words += ["--set", "architecture=BagOfWords(300)", "--device", "cpu", "--no-progress"]
    main(words)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text(encoding="utf-8"))
    assert summary["teachers"] == 1
    assert summary["train_samples"] == 48 + 16
    assert summary["command"].endswith("--teacher RUN")
    assert str(root) not in summary["command"]
    resume = ["train", "--resume", str(tmp_path / "run"), "--no-progress", "--teacher"]
    line = one_line(main, [*resume, str(root / "imdb-sequence")])
    assert f"--teacher {root / 'imdb-sequence'} contradicts the run in" in line
    assert f"which has {root / 'imdb-bag'}: leave it out" in line
    assert "contradicts" in one_line(main, [*resume, str(root / "imdb-bag"), "--teacher", str(root / "imdb-bag")])
    assert main([*resume, os.path.relpath(root / "imdb-bag")]) == 0
