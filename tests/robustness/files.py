"""Bad files: damaged, exchanged and crafted files of every format that the library reads."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import os
import random
import shutil
import struct
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import forwardforward as ff
from tests.robustness import commands, damage, values
from tests.robustness.damage import DAMAGE, KINDS, REPLACED, Change
from tests.robustness.interface import LIBRARY, PYTHONS_OWN, has_nan
from tests.robustness.pool import working_in


@dataclasses.dataclass(frozen=True)
class Format:
    """Valid files, and how the library reads them.

    Attributes:
        name: Name of the format.
        write: Writes the valid files into a folder.
        read: Reads the files in the current folder.
        files: The files to change.
        crafted: Changes of this format's contents.
        checksum: Whether damage must be noticed.
        weight: Share of the cases.
    """

    name: str
    write: Callable[[Path], None]
    read: Callable[[Path], Any]
    files: tuple[str, ...]
    crafted: tuple[Change, ...] = ()
    checksum: bool = False
    weight: float = 1.0


@dataclasses.dataclass(frozen=True)
class Case:
    """A changed file."""

    category: str
    name: str  # the format
    parameter: str  # the file
    change: Change
    seed: int
    folder: Path  # the valid files
    expression: str


def _npz(folder: Path) -> None:
    np.savez(folder / "x.npz", x=damage.BAD_X["good"](), y=damage.BAD_Y["good"]())


def _official_npz(folder: Path) -> None:
    x, y = damage.BAD_X["good"](), damage.BAD_Y["texts"]()
    np.savez_compressed(folder / "x.npz", x_train=x, y_train=y, x_test=x[:9], y_test=y[:9])


def _npy(folder: Path) -> None:
    np.save(folder / "x.npy", damage.BAD_X["good"]()[:5])


def _idx(folder: Path) -> None:
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 60), ("t10k", 12)):
        pixels = np.random.default_rng(0).integers(0, 256, (count, 28, 28), np.uint8)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 0x803, count, 28, 28) + pixels.tobytes())
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(
            struct.pack(">II", 0x801, count) + bytes(i % 10 for i in range(count))
        )


def _cifar(folder: Path) -> None:
    _records(folder / "cifar-10-batches-bin", [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"], 1)


def _cifar100(folder: Path) -> None:
    _records(folder / "cifar-100-binary", ["train.bin", "test.bin"], 2)
    (folder / "cifar-100-binary" / "fine_label_names.txt").write_text("".join(f"name{i}\n" for i in range(100)))


def _records(folder: Path, names: list[str], label_bytes: int) -> None:
    folder.mkdir()
    for name in names:
        pixels = np.random.default_rng(0).integers(0, 256, (20, 3072), np.uint8)
        labels = np.arange(20, dtype=np.uint8)[:, None] % 10
        (folder / name).write_bytes(np.concatenate([labels] * label_bytes + [pixels], 1).tobytes())


def _cifar_pickles(folder: Path) -> None:
    import pickle

    (folder / "cifar-10-batches-py").mkdir()
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"]:
        content = {
            "data": np.zeros((20, 3072), np.uint8),
            "labels": list(range(10)) * 2,
            "label_names": list("abcdefghij"),
        }
        (folder / "cifar-10-batches-py" / name).write_bytes(pickle.dumps(content))


def _svhn(folder: Path) -> None:
    from scipy.io import savemat

    for part in ("train", "test"):
        savemat(
            folder / f"{part}_32x32.mat",
            {"X": np.zeros((32, 32, 3, 20), np.uint8), "y": np.arange(20)[:, None] % 10 + 1},
        )


def _image(suffix: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        from PIL import Image

        pixels = np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)
        Image.fromarray(pixels).save(folder / f"x.{suffix}")

    return write


def _text_vectors(folder: Path) -> None:
    (folder / "x.txt").write_text("4 3\nthe 0.1 0.2 0.3\nfilm 1 2 3\ngood -1 0 1\nbad 0.5 0.5 0.5\n")


def _glove(folder: Path) -> None:
    (folder / "x.txt").write_text("the 0.1 0.2 0.3\nfilm 1 2 3\ngood -1 0 1\nbad 0.5 0.5 0.5\n")


def _binary_vectors(folder: Path) -> None:
    matrix = np.random.default_rng(0).random((4, 3)).astype(np.float32)
    ff.data.text.write_vectors(folder / "x.bin", ff.data.text.WordVectors(("the", "film", "good", "bad"), matrix))


def _zipped_vectors(folder: Path) -> None:
    _text_vectors(folder)
    (folder / "x.txt.gz").write_bytes(gzip.compress((folder / "x.txt").read_bytes()))
    (folder / "x.txt").unlink()


def _reviews(folder: Path) -> None:
    with working_in(folder):
        values.review_folder()


def _read_reviews(folder: Path) -> Any:
    data = ff.data.load("imdb", ".", representation=ff.data.text.WordSequence(10, 5), progress=False)
    return [data.train.inputs, data.train.targets, data.test.inputs]


def _checkpoint(folder: Path) -> None:
    with working_in(folder):
        values.checkpoint()


def _load_weights(folder: Path) -> Any:
    model = values.pair_model()
    before = model.state_dict()["layers.0.block.weight"].clone()
    try:
        ff.training.load_weights("checkpoint.pt", model)
    except Exception:
        if not torch.equal(before, model.state_dict()["layers.0.block.weight"]):
            raise RuntimeError("the model was changed by a file that was refused") from None
        raise
    return dict(model.state_dict())


def _resume(folder: Path) -> Any:
    model = values.pair_model()
    torch.manual_seed(0)
    history = ff.fit(model, values.data(), epochs=2, progress=False, checkpoint="checkpoint.pt", resume=True)
    return [dict(model.state_dict()), history[-1]["layers"]]


def _text_run(folder: Path) -> None:
    shutil.copytree(commands.RUNS["text"], folder / "run")


def _text_encoder(folder: Path) -> Any:
    return ff.runs.Run.open("run").text_encoder()(["A good film.", "the plot"])


def _splits(name: str) -> Callable[[Path], Any]:
    def read(folder: Path) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the numbers of images, which are not the official ones
            data = ff.data.load(name, None if name.endswith(".npz") else ".", download=False)
        return [x for part in (data.train, data.validation, data.test) for x in (part.inputs, part.targets)]

    return read


def _predict(name: str, run: str = "finished") -> Callable[[Path], Any]:
    return lambda folder: commands.command(["predict", str(commands.RUNS[run]), name])


def _vectors(name: str) -> Callable[[Path], Any]:
    def read(folder: Path) -> Any:
        vectors = ff.data.text.read_vectors(name)
        if len(vectors.words) != len(vectors.matrix):
            raise AssertionError(f"{len(vectors.words)} words for {len(vectors.matrix)} vectors")
        return [list(vectors.words), vectors.matrix]

    return read


def _write_text(folder: Path) -> None:
    (folder / "x.txt").write_text("A good film, a plot.")


IDX = tuple(f"MNIST/raw/{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))
VECTOR_CHANGES = (damage.vector_header, damage.vector_row, damage.vector_row)
FORMATS = (
    Format(
        "npz",
        _npz,
        _splits("x.npz"),
        ("x.npz",),
        (damage.arrays,) * 4 + (damage.huge_array, damage.bomb, damage.object_array),
        True,
        3,
    ),
    Format("npz with a test set", _official_npz, _splits("x.npz"), ("x.npz",), (), True),
    Format(
        "npy for predict",
        _npy,
        _predict("x.npy"),
        ("x.npy",),
        (damage.arrays,) * 4 + (damage.huge_array, damage.object_array),
        False,
        2,
    ),
    Format("npz for predict", _npz, _predict("x.npz"), ("x.npz",), (damage.arrays,) * 3 + (damage.bomb,), True),
    Format("idx", _idx, _splits("mnist"), IDX, (), False, 1.5),
    Format(
        "CIFAR-10 binary",
        _cifar,
        _splits("cifar10"),
        ("cifar-10-batches-bin/data_batch_2.bin", "cifar-10-batches-bin/test_batch.bin"),
    ),
    Format(
        "CIFAR-100 binary",
        _cifar100,
        _splits("cifar100"),
        ("cifar-100-binary/train.bin", "cifar-100-binary/fine_label_names.txt"),
    ),
    Format(
        "CIFAR-10 pickles",
        _cifar_pickles,
        _splits("cifar10"),
        ("cifar-10-batches-py/data_batch_2", "cifar-10-batches-py/batches.meta"),
        (),
        True,
        0.5,
    ),
    Format("SVHN", _svhn, _splits("svhn"), ("train_32x32.mat",), weight=0.5),
    *(
        Format(f"{suffix} image", _image(suffix), _predict(f"x.{suffix}"), (f"x.{suffix}",), weight=0.6)
        for suffix in ("png", "jpg", "gif", "bmp", "tif", "pgm", "webp")
    ),
    Format("word2vec text", _text_vectors, _vectors("x.txt"), ("x.txt",), VECTOR_CHANGES * 2, weight=1.5),
    Format("GloVe", _glove, _vectors("x.txt"), ("x.txt",), VECTOR_CHANGES),
    Format("word2vec binary", _binary_vectors, _vectors("x.bin"), ("x.bin",), (damage.vector_header,), weight=1.5),
    Format("word2vec gzip", _zipped_vectors, _vectors("x.txt.gz"), ("x.txt.gz",), (), True),
    Format("reviews", _reviews, _read_reviews, ("aclImdb/train/neg/3_0.txt", "aclImdb/test/pos/5_3.txt")),
    Format("checkpoint, weights", _checkpoint, _load_weights, ("checkpoint.pt",), (damage.torch_entry,) * 10, True, 4),
    Format("checkpoint, resume", _checkpoint, _resume, ("checkpoint.pt",), (damage.torch_entry,) * 12, True, 4),
    Format("text encoder", _text_run, _text_encoder, ("run/text_encoder.pt",), (damage.torch_entry,) * 6, True, 2),
    Format("text for predict", _write_text, _predict("x.txt", "text"), ("x.txt",), weight=0.6),
)
BY_NAME = {form.name: form for form in FORMATS}
RESULTS: dict[str, str] = {}  # digest of what is read from the valid files


def prepare(folder: Path) -> None:
    """Write the valid files of every format."""
    for form in FORMATS:
        place = folder / form.name
        place.mkdir()
        form.write(place)
        place.chmod(0o755)


def cases(count: int, generator: random.Random, folder: Path) -> list[Case]:
    total = sum(form.weight for form in FORMATS)
    chosen = []
    for form in FORMATS:
        number = round(count * form.weight / total)
        changes = [
            generator.choice(pool) for pool in generator.choices((DAMAGE, REPLACED, KINDS), (6, 3, 1.2), k=number)
        ]
        if form.crafted:
            changes[: number // 2] = [generator.choice(form.crafted) for _ in range(number // 2)]
        for change in changes:
            file, seed = generator.choice(form.files), generator.randrange(10**6)
            expression = f"{form.name}: {file}, {change.__name__}, seed {seed}"
            chosen.append(Case("files", form.name, file, change, seed, folder / form.name, expression))
    return chosen


def run_case(case: Case) -> dict[str, Any]:
    form = BY_NAME[case.name]
    work = Path("files")
    shutil.copytree(case.folder, work)
    os.chdir(work)
    result = {"change": case.change(Path(case.parameter), random.Random(case.seed))}
    if case.change is damage.unreadable:
        commands.drop_rights()
    return {**result, **_read(form, case)}


def _read(form: Format, case: Case) -> dict[str, Any]:
    name = Path(case.parameter).name
    try:
        content = form.read(Path("."))
    except commands.CommandError as error:
        return _executed() or commands.judge(error, {name, Path(case.parameter).parent.name or name})
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
        clear = _is_clear(error, case)
        where = commands.where(error)
        return _executed() or {
            "outcome": "refused clearly" if clear else "refused unclearly",
            "message": message[:400],
            "where": where,
        }
    if executed := _executed():
        return executed
    if nan := has_nan(content) or commands.has_nan_text(content):
        return {"outcome": "silent NaN", "message": nan}
    same = digest(content) == RESULTS.get(form.name)
    if same:
        return {"outcome": "accepted", "reason": "the same content as that of the valid file"}
    if form.checksum and case.change in DAMAGE:
        return {
            "outcome": "silently wrong",
            "message": "other content than the valid file's, although the format has checksums",
        }
    if case.change in DAMAGE:
        return {
            "outcome": "accepted",
            "reason": "the format has no checksum, and the changed bytes are other valid data",
        }
    if reason := _reason(case):
        return {"outcome": "accepted", "reason": reason}
    return {"outcome": "accepted without a reason", "message": f"{str(content)[:200]}"}


def _reason(case: Case) -> str:
    """Return why a replaced file is right, or an empty string."""
    of_text = (damage.vector_row, damage.vector_header, damage.words, damage.invalid_utf8)
    if case.change in of_text and case.name in (*TEXTS, "word2vec text", "GloVe", "CIFAR-100 binary"):
        return "the changed text is a valid text of the format"
    if case.change in (damage.other_format, damage.pickled, damage.random_bytes) and case.name in TEXTS:
        return "the other file is valid text too"
    if case.change is damage.missing and case.name == "reviews":
        return "a folder of reviews has no list of its files"
    if case.change is damage.missing and case.name == "checkpoint, resume":
        return "resume=True starts a training whose checkpoint does not exist yet"
    if case.change is damage.arrays:
        return "an array of another kind that is documented as valid"
    if case.change is damage.zeros:
        return "zeros are valid data"
    if case.change is damage.torch_entry:
        return "an entry of the checkpoint that is not read, or another valid value"
    return ""


#: Formats that are plain text.
TEXTS = ("reviews", "text for predict")


def _executed() -> dict[str, Any]:
    if os.path.exists("../" + damage.MARKER) or os.path.exists(damage.MARKER):
        return {"outcome": "payload executed", "message": "a file's payload ran"}
    return {}


def _is_clear(error: BaseException, case: Case) -> bool:
    text = str(error).strip()
    if not text or "\n" in text or isinstance(error, PYTHONS_OWN) or "allow_pickle" in text:
        return False
    path = Path(case.parameter)
    names = [path.name, str(path.parent) if path.parent.name else path.name]
    names += ["train-*", "t10k-*"] if case.name == "idx" else []
    named = any(name in text for name in names)
    last = traceback.extract_tb(error.__traceback__)[-1]
    raised = last.filename.startswith(LIBRARY) and (last.line or "").startswith("raise")
    return named and (raised or (isinstance(error, OSError) and error.filename is not None))


def digest(content: Any) -> str:
    """Return a digest of tensors, arrays, numbers and texts."""
    state = hashlib.sha256()

    def update(value: Any) -> None:
        if isinstance(value, torch.Tensor):
            state.update(str((value.dtype, tuple(value.shape))).encode() + value.contiguous().numpy().tobytes())
        elif isinstance(value, np.ndarray):
            state.update(str((value.dtype, value.shape)).encode() + np.ascontiguousarray(value).tobytes())
        elif isinstance(value, dict):
            for key in value:
                state.update(str(key).encode())
                update(value[key])
        elif isinstance(value, list | tuple):
            for item in value:
                update(item)
        else:
            state.update(repr(value).encode())

    update(content)
    return state.hexdigest()


def valid_result(name: str) -> dict[str, Any]:
    """Read the valid files of a format, and return the digest or the error."""
    form = BY_NAME[name]
    try:
        return {"digest": digest(form.read(Path(".")))}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:300]}
