"""Tests of damaged and foreign checkpoints: each is refused in one line that names the file, and changes nothing."""

from __future__ import annotations

import contextlib
import copy
import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_training import KillAtStep, Killed, data, fit, network, optimizer, same
from torch import nn

import forwardforward as ff
from forwardforward.training import CheckpointError, load_checkpoint, load_weights, save_checkpoint
from forwardforward.training.checkpoints import FORMAT

WEIGHT = "layers.0.block.weight"


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The content of a checkpoint that was written within the second epoch."""
    path = tmp_path_factory.mktemp("checkpoint") / "c.pt"
    with pytest.raises(Killed):
        fit(network(), data(), checkpoint=path, schedule=KillAtStep(1, 3), checkpoint_minutes=1e-9)
    return load_checkpoint(path)


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


class Subclass(torch.Tensor):
    pass


def change(**entries: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content.update(entries)


def weight(function: Callable[[torch.Tensor], Any]) -> Callable[[dict[str, Any]], None]:
    def damage(content: dict[str, Any]) -> None:
        content["model"][WEIGHT] = function(content["model"][WEIGHT])

    return damage


def with_value(value: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def damage(tensor: torch.Tensor) -> torch.Tensor:
        tensor[0, 0] = value
        return tensor

    return damage


def state(**entries: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["optimizer"]["0"]["state"][0].update(entries)


def group(**entries: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["optimizer"]["0"]["param_groups"][0].update(entries)


def unfinished(**entries: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["unfinished"].update(entries)


DAMAGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "model is a list": change(model=[1, 2]),
    "model of numbers": change(model={WEIGHT: 1.0}),
    "model with numbers as keys": change(model={1: torch.zeros(2)}),
    "NaN": weight(with_value(float("nan"))),
    "infinity": weight(with_value(float("inf"))),
    "complex": weight(lambda w: w.to(torch.complex64)),
    "integers": weight(lambda w: w.long()),
    "bool": weight(lambda w: w > 0),
    "float64": weight(lambda w: w.double()),
    "bfloat16": weight(lambda w: w.bfloat16()),
    "sparse": weight(lambda w: w.to_sparse()),
    "meta": weight(lambda w: w.to("meta")),
    "expanded": weight(lambda w: torch.zeros(1).expand(10**6, 10**6)),
    "transposed": weight(lambda w: w.T.contiguous()),
    "a scalar": weight(lambda w: w[0, 0].clone()),
    "None": weight(lambda w: None),
    "history is a number": change(history=3),
    "history of numbers": change(history=[3]),
    "history without a validation": change(history=[{"epoch": 1, "seconds": 1.0, "layers": [], "head": None}]),
    "history with NaN": lambda c: c["history"][0].update(seconds=float("nan")),
    "history in another order": lambda c: c["history"][0].update(epoch=5),
    "a negative epoch": change(epoch=-1),
    "an epoch beyond the history": change(epoch=7),
    "epoch as text": change(epoch="1"),
    "epochs are 0": change(epochs=0),
    "seed as text": change(seed="0"),
    "batch size 0": change(batch_size=0),
    "schedule is a number": change(schedule=1),
    "settings are a list": change(settings=["a"]),
    "settings of tuples": change(settings={("a", "b"): 1}),
    "a deep list": lambda c: c["settings"].update(deep=nested(200)),
    "optimizer is a string": change(optimizer="adam"),
    "optimizer without groups": change(optimizer={}),
    "a group is a number": lambda c: c["optimizer"].update({"0": 3}),
    "a group without a state": lambda c: c["optimizer"]["0"].pop("state"),
    "state is a list": lambda c: c["optimizer"]["0"].update(state=[1]),
    "state of another parameter": lambda c: c["optimizer"]["0"]["state"].update({17: {}}),
    "moments of another shape": state(exp_avg=torch.zeros(2, 2)),
    "moments are NaN": state(exp_avg=torch.full((24, 16), float("nan"))),
    "moments are integers": state(exp_avg=torch.zeros(24, 16, dtype=torch.int64)),
    "moments are text": state(exp_avg="zero"),
    "moments are missing": lambda c: c["optimizer"]["0"]["state"][0].pop("exp_avg"),
    "lr is text": group(lr="fast"),
    "lr is NaN": group(lr=float("nan")),
    "betas are a number": group(betas=0.9),
    "groups are missing": lambda c: c["optimizer"]["0"].update(param_groups=[]),
    "parameters of another group": group(params=[5, 6]),
    "finished as text": change(finished="yes"),
    "unfinished is a list": change(unfinished=[1]),
    "unfinished without entries": change(unfinished={}),
    "steps as text": unfinished(steps="three"),
    "steps are negative": unfinished(steps=-1),
    "steps beyond the epoch": unfinished(steps=7),
    "a generator of another length": unfinished(negatives=torch.zeros(3, dtype=torch.uint8)),
    "global state without numpy": lambda c: c["unfinished"]["global"].pop("numpy"),
    "meter is a number": unfinished(meter=1),
    "callbacks are a number": change(callbacks=3),
    "callbacks without a state": change(callbacks=[["EarlyStopping"]]),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_entries_of_another_kind_are_refused(name: str, content: dict[str, Any], tmp_path: Path) -> None:
    path, damaged = tmp_path / "damaged.pt", copy.deepcopy(content)
    DAMAGES[name](damaged)
    torch.save(damaged, path)
    model, local = network(seed=3), optimizer()
    before = copy.deepcopy(model)
    with pytest.raises(CheckpointError) as error:
        fit(model, data(), optimizer=local, checkpoint=path, resume=True)
    assert "damaged.pt" in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400
    assert same(model, before)


def test_the_undamaged_content_is_accepted(content: dict[str, Any], tmp_path: Path) -> None:
    torch.save(content, tmp_path / "c.pt")
    assert len(fit(network(), data(), checkpoint=tmp_path / "c.pt", resume=True)) == 3


class Payload:
    """Creates a file when it is unpickled without weights_only."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("place", ["model", "extra", "key"])
def test_code_in_a_checkpoint_does_not_run(place: str, content: dict[str, Any], tmp_path: Path) -> None:
    payload = Payload(tmp_path / "created")
    entries = {"model": {"model": payload}, "extra": {"extra": payload}, "key": {"settings": {"a": [payload]}}}
    torch.save({**content, **entries[place]}, tmp_path / "c.pt")
    for use in (load_checkpoint, lambda path: load_weights(path, network())):
        with pytest.raises(CheckpointError, match=r"c\.pt: it is incomplete or not a checkpoint"):
            use(tmp_path / "c.pt")
    assert not (tmp_path / "created").exists()
    torch.load(tmp_path / "c.pt", weights_only=False)  # the payload is a real one
    assert (tmp_path / "created").exists()


def rewritten(path: Path, change: Callable[[zipfile.ZipInfo, bytes], bytes | None], compression: int) -> None:
    with zipfile.ZipFile(path) as source:
        entries = [(info, source.read(info)) for info in source.infolist()]
    with zipfile.ZipFile(path, "w", compression) as target:
        for info, value in entries:
            changed = change(info, value)
            if changed is not None:
                target.writestr(info.filename, changed)


def test_damaged_archives_are_refused(content: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "c.pt"

    def check(change: Callable[[zipfile.ZipInfo, bytes], bytes | None], compression: int = zipfile.ZIP_STORED) -> None:
        torch.save(content, path)
        rewritten(path, change, compression)
        with pytest.raises(CheckpointError, match=r"c\.pt"):
            load_checkpoint(path)

    check(lambda info, value: value if "data/" not in info.filename else value + bytes(10**6), zipfile.ZIP_DEFLATED)
    check(lambda info, value: None if info.filename.endswith("data.pkl") else value)
    check(lambda info, value: None if info.filename.endswith("data/0") else value)
    check(lambda info, value: value[:3] if info.filename.endswith("data/0") else value)
    check(lambda info, value: b"\x80\x02(" * 3 if info.filename.endswith("data.pkl") else value)
    deep = b"\x80\x02" + b"]" * 20000 + b"a" * 19999 + b"."
    check(lambda info, value: deep if info.filename.endswith("data.pkl") else value)
    for raw in (b"", b"PK", b"PK\x03\x04" + bytes(100), pickle.dumps([1]), b"\x1f\x8b" + bytes(50)):
        path.write_bytes(raw)
        with pytest.raises(CheckpointError, match=r"c\.pt"):
            load_checkpoint(path)


def test_an_archive_that_declares_a_huge_entry_is_refused(content: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    torch.save(content, path)
    raw = bytearray(path.read_bytes())
    with zipfile.ZipFile(io.BytesIO(raw)) as file:
        entry = next(info for info in file.infolist() if info.filename.endswith("data/0"))
    central = raw.rindex(b"PK\x01\x02", 0, raw.rindex(entry.filename.encode()))
    raw[central + 20 : central + 28] = (2**31 - 1).to_bytes(4, "little") * 2  # both sizes
    path.write_bytes(raw)
    with pytest.raises(CheckpointError, match=r"c\.pt: file is corrupted \(an entry is compressed or larger"):
        load_checkpoint(path)


def test_a_compiled_model_trains_and_its_weights_load(tmp_path: Path) -> None:
    path, model = tmp_path / "c.pt", network("class")
    fit(torch.compile(model, backend="eager"), data(), checkpoint=path)
    assert same(load_weights(path, network("class", seed=2)), model)
    compiled = torch.compile(network("class", seed=2), backend="eager")
    assert load_weights(path, compiled) is compiled
    assert same(compiled._orig_mod, model)
    save_checkpoint(path, {"model": compiled.state_dict()})  # names begin with _orig_mod
    assert same(load_weights(path, network("class", seed=2)), model)


def test_the_first_difference_of_an_architecture_is_named(tmp_path: Path) -> None:
    fit(network(), data(), checkpoint=tmp_path / "c.pt", epochs=1)
    wider = ff.FFSequential(
        ff.FFLinear(16, 30),
        ff.FFLinear(30, 20),
        goodness=ff.goodness.MeanOfSquares(),
        loss=ff.losses.SwishSymBa(4.0),
        label_encoder=ff.label_encoders.Overlay(3),
    )
    message = r"does not match the model: shape of layers\.0\.block\.weight, \(24, 16\) instead of \(30, 16\)"
    with pytest.raises(CheckpointError, match=message):
        fit(wider, data(), checkpoint=tmp_path / "c.pt", resume=True)


def test_saved_weights_are_plain_tensors_under_plain_names(content: dict[str, Any]) -> None:
    assert content["format"] == FORMAT
    assert {type(value) for value in content["model"].values()} <= {torch.Tensor, nn.Parameter}
    assert WEIGHT in content["model"]


def test_no_flipped_bit_of_an_archives_directory_changes_the_weights(tmp_path: Path) -> None:
    """A bit declares an entry a directory, which torch does not read: the weights would be what memory contained."""
    path, weights = tmp_path / "c.pt", {"a": torch.arange(5.0)}
    ff.training.save_checkpoint(path, {"model": weights})
    content = path.read_bytes()
    for byte in range(content.index(b"PK\x01\x02"), len(content)):
        for bit in (4, byte % 8):
            path.write_bytes(content[:byte] + bytes([content[byte] ^ 1 << bit]) + content[byte + 1 :])
            with contextlib.suppress(CheckpointError):
                assert torch.equal(load_checkpoint(path)["model"]["a"], weights["a"])


def test_two_entries_with_one_name_are_refused(tmp_path: Path) -> None:
    """One flipped bit of a name in the directory: checksums are compared by name, and one would be left out."""
    path = tmp_path / "c.pt"
    ff.training.save_checkpoint(path, {"model": {"a": torch.zeros(3), "b": torch.ones(3)}})
    content = path.read_bytes()
    directory = content.rindex(b"/data/0")
    path.write_bytes(content[: directory + 6] + b"1" + content[directory + 7 :])
    with pytest.raises(CheckpointError, match="two entries with one name"):
        ff.training.load_checkpoint(path)
