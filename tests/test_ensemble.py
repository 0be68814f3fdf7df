"""Averages of trained runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import forwardforward as ff
from forwardforward.__main__ import main
from forwardforward.recipes import get
from forwardforward.runs import Ensemble, Run, RunConfig
from forwardforward.training import CheckpointError

pytest.importorskip("sklearn")


@pytest.fixture(autouse=True)
def _keep_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def trained(folder: Path, recipe: str, data: str = "digits", widths: tuple[int, ...] = (12, 12), **options: Any) -> str:
    settings = get(recipe).for_dataset(data).replace(widths=widths, epochs=1, batch_size=100)
    config = RunConfig.from_recipe(settings, data, threads=1, **options)
    Run.create(folder, config).fit(progress=False)
    return str(folder)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Runs that have held out the validation split, and others."""
    folder = tmp_path_factory.mktemp("runs")
    threads = torch.get_num_threads()
    folders = {
        "pair": trained(folder / "pair", "hinton", validation=True),
        "class": trained(folder / "class", "mono", validation=True, command="python -m forwardforward train"),
        "standardized": trained(folder / "standardized", "mono-conv", widths=(4, 4), validation=True),
        "all": trained(folder / "all", "mono", seed=1),
        "labels": trained(folder / "labels", "multi-label", "digit-pairs"),
        "labels again": trained(folder / "labels again", "multi-label", "digit-pairs", seed=1),
        "values": trained(folder / "values", "ordinal", "diabetes"),
        "values again": trained(folder / "values again", "ordinal", "diabetes", seed=1),
    }
    torch.set_num_threads(threads)
    return folders


KINDS = "pair", "class", "standardized"


def expected_scores(folders: list[str], images: torch.Tensor, weights: list[float]) -> torch.Tensor:
    """The weighted sum of log-probabilities, one image and one run at a time."""
    rows = []
    for image in images:
        row = torch.zeros(10)
        for folder, weight in zip(folders, weights, strict=True):
            row += weight * ff.load(folder).predict_proba(image[None])[0].log()
        rows.append(row)
    return torch.stack(rows)


@pytest.mark.parametrize("weights", [None, [0.5, 2.0, 0.0]])
def test_scores_are_the_weighted_log_probabilities(runs: dict[str, str], weights: list[float] | None) -> None:
    folders = [runs[kind] for kind in KINDS]
    images = Run.open(folders[0]).splits().test.inputs[:6]
    ensemble = Ensemble(folders, weights=weights)
    expected = expected_scores(folders, images, weights or [1 / 3] * 3)
    torch.testing.assert_close(ensemble.predict_proba(images), expected.softmax(1))
    torch.testing.assert_close(ensemble.predict_proba(images, batch_size=4), expected.softmax(1))
    assert torch.equal(ensemble.predict(images.numpy()), expected.argmax(1))


@pytest.mark.parametrize("split", ["test", "validation"])
def test_errors_are_those_of_the_runs_and_of_their_mean(runs: dict[str, str], split: str) -> None:
    ensemble = Ensemble([Run.open(runs[kind]) for kind in KINDS])
    data = getattr(ensemble.runs[0].splits(), split)
    result = ensemble.evaluate(validation=split == "validation")
    members = tuple(ff.evaluate(ff.load(runs[kind]), data).error for kind in KINDS)
    assert result.members == pytest.approx(members)
    wrong = ensemble.predict(data.inputs) != data.targets
    assert result.error == pytest.approx(100 * float(wrong.double().mean()))
    assert (result.samples, result.measured_on) == (len(data), split)
    assert str(result).startswith(f"error {result.error:.2f} % (members {members[0]:.2f}, ")


def test_fitted_weights_lower_the_cross_entropy_on_the_validation_split(runs: dict[str, str]) -> None:
    ensemble = Ensemble([runs[kind] for kind in KINDS])
    data = ensemble.runs[0].splits().validation

    def loss() -> float:
        return float(torch.nn.functional.nll_loss(ensemble.predict_proba(data.inputs).log(), data.targets))

    equal, before = ensemble.weights, loss()
    assert ensemble.fit_weights() is ensemble
    assert ensemble.weights != equal
    assert min(ensemble.weights) >= 0
    assert loss() < before
    fitted = loss()
    for index in range(3):
        for factor in (0.9, 1.1):
            weights = list(ensemble.weights)
            weights[index] *= factor
            other = Ensemble(ensemble.runs, weights=weights)
            changed = torch.nn.functional.nll_loss(other.predict_proba(data.inputs).log(), data.targets)
            assert float(changed) > fitted - 1e-4


def test_several_labels_are_averaged_by_their_log_odds(runs: dict[str, str]) -> None:
    folders = [runs["labels"], runs["labels again"]]
    ensemble = Ensemble(folders)
    data = ensemble.runs[0].splits().test
    scores = sum(ff.load(folder).predict_proba(data.inputs).logit() for folder in folders) / 2
    assert isinstance(scores, torch.Tensor)
    torch.testing.assert_close(ensemble.predict_proba(data.inputs), scores.sigmoid(), rtol=1e-4, atol=1e-5)
    result = ensemble.evaluate()
    assert result.metric == "label error"
    wrong = ensemble.predict(data.inputs) != (data.targets > 0.5)  # type: ignore[operator]
    assert result.error == pytest.approx(100 * float(wrong.double().mean()))
    with pytest.raises(ValueError, match="^runs must predict one class per sample to fit weights, got MultiLabel"):
        ensemble.fit_weights()


def test_a_class_with_probability_zero_in_one_run_can_win(tmp_path: Path, runs: dict[str, str]) -> None:
    """A list of candidates gives all other labels the probability 0: two runs may rule out every label."""
    recipe = get("hinton").for_dataset("digits").replace(widths=(12, 12), epochs=1, batch_size=100)
    recipe = recipe.replace(classifier=ff.classifiers.Candidates(1), name="mine")
    run = Run.create(tmp_path / "run", RunConfig.from_recipe(recipe, "digits", threads=1), recipe=recipe)
    run.fit(progress=False)
    images = run.splits().test.inputs[:50]
    ensemble = Ensemble([run, runs["pair"]])
    assert bool(ensemble.predict_proba(images).isfinite().all())


# What cannot be averaged


def test_runs_that_do_not_belong_together_are_refused(runs: dict[str, str], tmp_path: Path) -> None:
    for folders, message in (
        ([], "^runs must be at least one, got none$"),
        ([runs["pair"], runs["pair"] + "/."], r"^runs must be distinct, got .*pair.* twice$"),
        ([runs["pair"], runs["labels"]], r"^runs must have the same data set, got digits in .* and digit-pairs in .*$"),
        ([runs["values"], runs["values again"]], r"^runs must predict classes or labels, got real values in .*values$"),
    ):
        with pytest.raises(ValueError, match=message):
            Ensemble(folders)
    with pytest.raises(ValueError, match=r"^runs must have held out the validation split, .*, got .*all, which was"):
        Ensemble([runs["pair"], runs["all"]]).evaluate(validation=True)
    with pytest.raises(ValueError, match="^runs must have held out the validation split"):
        Ensemble([runs["pair"], runs["all"]]).fit_weights()
    with pytest.raises(FileNotFoundError, match="there is no run in"):
        Ensemble([runs["pair"], str(tmp_path)])
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "config.json").write_text('{"format": "forwardforward-model-1"}')
    with pytest.raises(ValueError, match="^there is no run in '.*saved': it contains a saved model, which ff.load and"):
        Ensemble([runs["pair"], str(tmp_path / "saved")])
    with pytest.raises(TypeError, match="^runs must be a sequence of instances of Run, a string or a path, got"):
        Ensemble(runs["pair"])
    config = RunConfig.from_recipe(get("mono").for_dataset("digits"), "digits")
    with pytest.raises(CheckpointError, match=r"^there is no checkpoint .*new/checkpoint.pt$"):
        Ensemble([runs["pair"], Run.create(tmp_path / "new", config)])
    for weights in ([1.0], [0.0, 0.0]):
        with pytest.raises(ValueError, match=r"^weights must be one per run, 2, one of them above 0, got"):
            Ensemble([runs["pair"], runs["class"]], weights=weights)
    with pytest.raises(ValueError, match="^weights"):
        Ensemble([runs["pair"], runs["class"]], weights=[1.0, -1.0])


def test_other_data_of_the_same_name_are_refused(tmp_path: Path) -> None:
    folders = []
    for name, classes, seed in (("a", 3, 0), ("b", 3, 1), ("c", 4, 0)):
        (tmp_path / name).mkdir()
        x = np.random.default_rng(seed).random((60, 4, 4), dtype=np.float32)
        np.savez(tmp_path / name / "data.npz", x=x, y=np.arange(60) % classes)
        folders.append(trained(tmp_path / name / "run", "mono", str(tmp_path / name / "data.npz")))
    with pytest.raises(ValueError, match=r"^runs must have the same data, got \w+ in .* and \w+ in"):
        Ensemble(folders[:2])
    with pytest.raises(ValueError, match=r"^runs must have the same number of classes, got 3 in .* and 4 in"):
        Ensemble(folders[::2])


def test_other_targets_in_a_split_are_refused(runs: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    ensemble = Ensemble([runs["pair"], runs["class"]])
    splits = ensemble.runs[1].splits()
    other = ff.data.Splits("digits", splits.train, splits.validation, splits.test[:-1], 10, splits.input_shape)
    monkeypatch.setattr(ensemble.runs[1], "splits", lambda data_dir=None: other)
    with pytest.raises(ValueError, match=r"^runs must have the same samples in the test split, got other targets in"):
        ensemble.evaluate()


def test_inputs_of_the_wrong_kind_are_refused(runs: dict[str, str]) -> None:
    ensemble = Ensemble([runs["pair"], runs["class"]])
    for inputs in (["a text"], "a text"):
        with pytest.raises(TypeError, match="^inputs must be raw inputs for runs on digits, got"):
            ensemble.predict(inputs)


# Texts


def test_runs_with_different_text_encoders(tmp_path: Path) -> None:
    words = ("film", "plot", "acting", "music", "ending", "camera")
    for part, kind, sentence in (
        ("train", "pos", "A wonderful {}, truly moving."),
        ("train", "neg", "A dreadful {}, truly boring."),
        ("test", "pos", "I loved the wonderful {}!"),
        ("test", "neg", "I hated the dreadful {}!"),
        ("train", "unsup", "We saw the {}."),
    ):
        folder = tmp_path / "aclImdb" / part / kind
        folder.mkdir(parents=True)
        for number, word in enumerate(words):
            (folder / f"{number}_{ {'pos': 9, 'neg': 2, 'unsup': 0}[kind] }.txt").write_text(sentence.format(word))
    options = {"data": "imdb", "data_dir": str(tmp_path)}
    folders = [
        trained(tmp_path / "bag", "imdb-bag", widths=(4, 6), **options),
        trained(tmp_path / "sequence", "imdb-sequence", widths=(4, 6, 6), **options),
    ]
    ensemble = Ensemble(folders)
    result = ensemble.evaluate()
    assert result.samples == 12
    texts = ["A wonderful film, truly moving.", "A dreadful plot."]
    models = [run.load().predict_proba(run.text_encoder()(texts)).log() for run in ensemble.runs]
    torch.testing.assert_close(ensemble.predict_proba(texts), ((models[0] + models[1]) / 2).softmax(1))
    for inputs in (torch.zeros(2, 4), [], "a single text"):
        with pytest.raises(TypeError, match="^inputs must be a list of texts for runs on imdb, got"):
            ensemble.predict(inputs)  # type: ignore[arg-type]


# The command line


def test_the_command_prints_and_writes_the_errors(
    runs: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, folders = tmp_path / "ensemble.json", [runs[kind] for kind in KINDS]
    assert main(["ensemble", *folders, "--device", "cpu", "--out", str(file)]) == 0
    out, err = capsys.readouterr()
    result = Ensemble(folders).evaluate()
    lines = out.splitlines()
    assert lines[0] == "digits: test error"
    assert [line.split()[1] for line in lines[1:]] == [f"{error:.2f}" for error in (*result.members, result.error)]
    assert [line.split()[0] for line in lines[1:]] == ["hinton", "mono", "mono-conv", "ensemble"]
    assert lines[2].endswith(folders[1])
    assert err == ""
    content = json.loads(file.read_text())
    assert content["test_error"] == result.error
    assert content["validation_error"] is None
    assert [member["test_error"] for member in content["members"]] == list(result.members)
    assert content["members"][1]["command"] == "python -m forwardforward train"
    assert content["command"] == "python -m forwardforward ensemble RUN RUN RUN"
    assert str(tmp_path) not in file.read_text()
    assert {"recipe", "widths", "epochs", "seed", "seconds", "parameters", "gradient_crosses"} <= set(
        content["members"][0]
    )


def test_weights_on_the_command_line(runs: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    folders = [runs["pair"], runs["class"]]
    assert main(["ensemble", *folders, "--device", "cpu", "--validation", "--weights", "fit", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    fitted = Ensemble(folders).fit_weights()
    assert content["weights"] == pytest.approx(fitted.weights)
    assert content["validation_error"] == fitted.evaluate(validation=True).error
    assert (content["measured_on"], content["test_error"]) == ("validation", None)
    assert content["command"] == "python -m forwardforward ensemble RUN RUN --validation --weights fit"
    assert main(["ensemble", *folders, "--device", "cpu", "--weights", "0,2.5", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["test_error"] == content["members"][1]["test_error"]
    assert content["command"].endswith("--weights 0.0,2.5")


def test_an_unfinished_run_is_named(runs: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Run.open(trained(tmp_path / "run", "mono"))
    run.set_epochs(3)
    assert main(["ensemble", runs["pair"], str(run.folder), "--device", "cpu"]) == 0
    assert capsys.readouterr().err == f"{run.folder} is unfinished: 1 of 3 epochs\n"


def test_wrong_words_on_the_command_line(
    runs: dict[str, str], tmp_path: Path, one_line: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def message(*words: str) -> str:
        return one_line(main, ["ensemble", *words])

    pair, classes = runs["pair"], runs["class"]
    assert "the same data set, got digits in" in message(pair, runs["labels"])
    assert "must have held out the validation split" in message(pair, runs["all"], "--validation")
    assert "--weights must be one per run, 2, got 1" in message(pair, classes, "--weights", "1")
    for weights in ("much", "1,-1", "nan,1", ""):
        error = message(pair, classes, f"--weights={weights}")
        assert "must be numbers of at least 0 such as 0.7,0.3, or 'fit'" in error
    assert "--out must not be a file of a run" in message(pair, classes, "--out", f"{pair}/summary.json")
    monkeypatch.setattr(Ensemble, "evaluate", lambda *_: pytest.fail("the runs were evaluated"))
    line = message(pair, classes, "--out", "no/such/errors.json")
    assert "--out must be a file in a folder that can be written to, got no/such/errors.json: No such file" in line
    assert "--out must be the name of a new or a regular file" in message(pair, classes, "--out", str(tmp_path))
