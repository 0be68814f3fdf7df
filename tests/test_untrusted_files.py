"""Files from others run no code and write nothing outside of their folder; each payload here would."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import forwardforward as ff
from forwardforward.data import load
from forwardforward.recipes import get
from forwardforward.runs import Run, RunConfig
from forwardforward.training import CheckpointError


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.mark,)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """The file that a payload creates."""
    mark = tmp_path / "mark"
    pickle.loads(pickle.dumps(Payload(mark)))
    assert mark.exists()  # it does work
    mark.unlink()
    return mark


def test_the_checkpoint_of_a_run_runs_no_code(mark: Path, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    run = Run.create(tmp_path / "run", RunConfig.from_recipe(get("hinton").for_dataset("digits"), "digits"))
    torch.save(Payload(mark), run.folder / "checkpoint.pt")
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt"):
        run.load()
    assert not mark.exists()


@pytest.mark.parametrize("place", ["x", "y"])
def test_arrays_run_no_code(place: str, mark: Path, tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    arrays: dict[str, np.ndarray] = {"x": np.random.rand(20, 4), "y": np.arange(20) % 2}
    arrays[place] = np.array([Payload(mark)] * 20, dtype=object)
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=rf"data\.npz: {place} must be an array of numbers or strings"):
        load(path)
    assert not mark.exists()


def test_the_text_encoder_of_a_run_runs_no_code(mark: Path, tmp_path: Path) -> None:
    part = ff.TensorData(torch.zeros(4, 20, dtype=torch.long), torch.arange(4) % 2, num_embeddings=10)
    splits = ff.data.Splits("imdb", part, part, part, num_classes=2, input_shape=(20,))
    config = RunConfig.from_recipe(get("imdb-sequence"), "imdb", data_dir=str(tmp_path))
    run = Run.create(tmp_path / "run", config, splits=splits)
    for content in (Payload(mark), {"kind": "WordSequence", "words": Payload(mark)}):
        torch.save(content, run.folder / "text_encoder.pt")
        with pytest.raises(CheckpointError, match=r"text_encoder\.pt"):
            run.text_encoder()
        assert not mark.exists()
