"""Changes of files: bytes, kinds of files, and contents of formats."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

#: Created if a file's payload is run.
MARKER = "../EXECUTED"

Change = Callable[[Path, random.Random], str]


class Payload:
    """An object whose unpickling would create a file."""

    def __reduce__(self) -> Any:
        return os.mkdir, (MARKER,)


# Damage: what disks, networks and copies do. A format with a checksum must notice it.


def flip_a_bit(path: Path, generator: random.Random) -> str:
    content = bytearray(path.read_bytes())
    position, bit = generator.randrange(len(content)), generator.randrange(8)
    content[position] ^= 1 << bit
    path.write_bytes(content)
    return f"bit {bit} of byte {position} of {len(content)} flipped"


def flip_bits(path: Path, generator: random.Random) -> str:
    content = bytearray(path.read_bytes())
    positions = [generator.randrange(len(content)) for _ in range(20)]
    for position in positions:
        content[position] ^= 1 << generator.randrange(8)
    path.write_bytes(content)
    return f"a bit of the bytes {positions} flipped"


def truncate(path: Path, generator: random.Random) -> str:
    content = path.read_bytes()
    end = generator.randrange(len(content))
    path.write_bytes(content[:end])
    return f"cut to {end} of {len(content)} bytes"


def cut_a_little(path: Path, generator: random.Random) -> str:
    content, number = path.read_bytes(), generator.randint(1, 40)
    path.write_bytes(content[:-number])
    return f"last {number} bytes cut"


def remove_bytes(path: Path, generator: random.Random) -> str:
    content = path.read_bytes()
    start, size = generator.randrange(len(content)), generator.choice((1, 4, 100))
    path.write_bytes(content[:start] + content[start + size :])
    return f"{size} bytes removed at {start}"


def insert_bytes(path: Path, generator: random.Random) -> str:
    content = path.read_bytes()
    start, size = generator.randrange(len(content)), generator.choice((1, 4, 100))
    path.write_bytes(content[:start] + generator.randbytes(size) + content[start:])
    return f"{size} random bytes inserted at {start}"


def zero_a_block(path: Path, generator: random.Random) -> str:
    content = bytearray(path.read_bytes())
    start = generator.randrange(len(content))
    end = min(len(content), start + generator.choice((4, 16, 512)))
    content[start:end] = bytes(end - start)
    path.write_bytes(content)
    return f"bytes {start} to {end} set to 0"


def set_a_block(path: Path, generator: random.Random) -> str:
    content = bytearray(path.read_bytes())
    start = generator.randrange(min(len(content), 300))
    content[start : start + 4] = generator.choice((b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f"))
    path.write_bytes(content)
    return f"bytes {start} to {start + 4} set to the largest number"


def append_bytes(path: Path, generator: random.Random) -> str:
    path.write_bytes(path.read_bytes() + generator.randbytes(generator.choice((1, 100))))
    return "random bytes appended"


def repeat(path: Path, generator: random.Random) -> str:
    path.write_bytes(path.read_bytes() * 2)
    return "content twice"


DAMAGE: tuple[Change, ...] = (
    flip_a_bit, flip_a_bit, flip_a_bit, flip_bits, truncate, truncate, cut_a_little, remove_bytes, insert_bytes,
    zero_a_block, set_a_block, append_bytes, repeat,
)  # fmt: skip


# Other files in its place


def empty(path: Path, generator: random.Random) -> str:
    path.write_bytes(b"")
    return "empty"


def random_bytes(path: Path, generator: random.Random) -> str:
    path.write_bytes(generator.randbytes(generator.choice((1, 10, 1000, 10_000))))
    return "random bytes"


def zeros(path: Path, generator: random.Random) -> str:
    path.write_bytes(bytes(path.stat().st_size))
    return "zeros of the same size"


def words(path: Path, generator: random.Random) -> str:
    path.write_text(
        generator.choice(
            (
                "hello\n",
                "<html><body>404</body></html>",
                "version https://git-lfs.github.com/spec/v1\n",
                "\n\n\n",
                "a" * 100_000,
            )
        )
    )
    return "another text"


def invalid_utf8(path: Path, generator: random.Random) -> str:
    path.write_bytes(generator.choice((b"caf\xe9 \xff\xfe\n", b"\xff\xfeh\x00i\x00", b"\xef\xbb\xbfhello\n", b"\x80")))
    return "not UTF-8"


def other_format(path: Path, generator: random.Random) -> str:
    kind = generator.choice(sorted(OTHER_FORMATS))
    path.write_bytes(OTHER_FORMATS[kind]())
    return f"a file of another format: {kind}"


def pickled(path: Path, generator: random.Random) -> str:
    protocol = generator.choice((0, 2, 4))
    path.write_bytes(pickle.dumps(Payload(), protocol))
    return f"a pickle with a payload, protocol {protocol}"


def pickle_in_archive(path: Path, generator: random.Random) -> str:
    names = generator.choice((("archive/data.pkl", "archive/version"), ("x.npy", "y.npy"), ("data.pkl",)))
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, pickle.dumps(Payload(), 2))
    return f"a zip file with payloads as {names}"


def torch_payload(path: Path, generator: random.Random) -> str:
    torch.save({"format": "forwardforward-checkpoint-1", "model": Payload()}, path)
    return "a file of torch.save with a payload"


def object_array(path: Path, generator: random.Random) -> str:
    file = io.BytesIO()
    if generator.random() < 0.5:
        np.save(file, np.array([Payload()], object), allow_pickle=True)
    else:
        np.savez(file, x=np.array([Payload()] * 30, object), y=np.arange(30) % 3)
    path.write_bytes(file.getvalue())
    return "an array of objects with payloads"


def huge_array(path: Path, generator: random.Random) -> str:
    shape = generator.choice(((10**12,), (10**9, 8, 8), (2**62, 2), (30, -1), (0, 64), ()))
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + bytes(1000)
    if generator.random() < 0.5 and path.suffix != ".npy":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x.npy", content)
            archive.writestr("y.npy", content)
    else:
        path.write_bytes(content)
    return f"an array that declares the shape {shape}"


def bomb(path: Path, generator: random.Random) -> str:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (8388608, 8, 16), }".ljust(117) + b"\n"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in ("x.npy", "y.npy"):
            with archive.open(name, "w", force_zip64=True) as file:
                file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
                for _ in range(64 if name == "x.npy" else 1):
                    file.write(bytes(2**24))
    return "a small archive of 1 GiB of zeros, cut short of the declared 4 GiB"


def arrays(path: Path, generator: random.Random) -> str:
    x, y = generator.choice(sorted(BAD_X)), "good"
    if generator.random() < 0.5:
        x, y = "good", generator.choice(sorted(BAD_Y))
    file = io.BytesIO()
    with np.errstate(all="ignore"):
        inputs, targets = BAD_X[x](), BAD_Y[y]()
    if path.suffix == ".npy":
        inputs = inputs if x != "good" else targets
        np.save(file, inputs, allow_pickle=True)
    else:
        np.savez(file, x=inputs, y=targets)
    path.write_bytes(file.getvalue())
    return f"arrays with x={x}, y={y}"


def _x(dtype: Any = np.float32, shape: tuple[int, ...] = (30, 8, 8), value: float | None = None) -> Any:
    array = np.random.default_rng(0).random(shape).astype(dtype)
    if value is not None:
        array[1, 2] = value
    return array


BAD_X: dict[str, Callable[[], Any]] = {
    "good": _x, "NaN": lambda: _x(value=np.nan), "infinity": lambda: _x(value=np.inf), "1e38": lambda: _x(value=3e38),
    "float64 1e300": lambda: _x(np.float64, value=1e300), "complex": lambda: _x(np.complex64),
    "bool": lambda: _x(np.bool_),
    "int64": lambda: _x(np.int64), "uint16": lambda: _x(np.uint16),
    "datetime": lambda: np.zeros((30, 8, 8), "datetime64[s]"),
    "text": lambda: np.full((30, 8, 8), "a"), "structured": lambda: np.zeros((30, 8, 8), [("a", np.float32)]),
    "objects": lambda: np.full((30, 8, 8), None), "0-d": lambda: np.array(1.0), "1-d": lambda: np.zeros(30, np.float32),
    "5-d": lambda: _x(shape=(30, 1, 1, 8, 8)), "empty": lambda: _x(shape=(0, 8, 8)),
    "no pixels": lambda: _x(shape=(30, 0, 8)),
    "one sample": lambda: _x(shape=(1, 8, 8)), "channels last": lambda: _x(shape=(30, 8, 8, 3)),
    "longdouble": lambda: _x(np.longdouble),
    "float16": lambda: _x(np.float16), "big-endian": lambda: _x(">f4"), "void": lambda: np.zeros((30, 8, 8), "V4"),
    "timedelta": lambda: np.zeros((30, 8, 8), "timedelta64[s]"), "10 samples": lambda: _x(shape=(10, 8, 8)),
}  # fmt: skip
BAD_Y: dict[str, Callable[[], Any]] = {
    "good": lambda: np.arange(30) % 3, "float": lambda: (np.arange(30) % 3).astype(np.float32),
    "NaN": lambda: np.full(30, np.nan),
    "negative": lambda: np.arange(30) % 3 - 1, "10**7": lambda: np.where(np.arange(30) == 7, 10**7, np.arange(30) % 3),
    "2**63": lambda: np.where(np.arange(30) == 7, 2**63 + 1, np.arange(30) % 3).astype(np.uint64),
    "bool": lambda: np.arange(30) % 2 == 0,
    "2-d": lambda: np.zeros((30, 1), np.int64), "one-hot": lambda: np.eye(3)[np.arange(30) % 3],
    "short": lambda: np.arange(29) % 3,
    "empty": lambda: np.zeros(0, np.int64), "texts": lambda: np.array(["a", "b", "c"] * 10),
    "empty texts": lambda: np.array(["a", ""] * 15),
    "bytes": lambda: np.array([b"a", b"\xff"] * 15), "objects": lambda: np.array(["a", 1, None] * 10, object),
    "one class": lambda: np.zeros(30, np.int64),
    "complex": lambda: np.arange(30).astype(np.complex64), "all different": lambda: np.arange(30),
    "structured": lambda: np.zeros(30, [("a", int)]),
    "datetime": lambda: np.zeros(30, "datetime64[s]"),
}  # fmt: skip


def _saved(function: Callable[[Any], Any]) -> Callable[[], bytes]:
    def content() -> bytes:
        file = io.BytesIO()
        function(file)
        return file.getvalue()

    return content


OTHER_FORMATS: dict[str, Callable[[], bytes]] = {
    "npy": _saved(lambda file: np.save(file, np.zeros(3))),
    "npz": _saved(lambda file: np.savez(file, a=np.zeros(3))),
    "torch": _saved(lambda file: torch.save({"a": torch.zeros(2)}, file)),
    "torch tensor": _saved(lambda file: torch.save(torch.zeros(2), file)),
    "torch legacy": _saved(lambda file: torch.save({"a": torch.zeros(2)}, file, _use_new_zipfile_serialization=False)),
    "JSON": lambda: b'{"a": [1, 2, NaN]}',
    "gzip": lambda: __import__("gzip").compress(b"3 2\na 1 2\n"),
    "zip": _saved(lambda file: zipfile.ZipFile(file, "w").close()),
    "PNG": lambda: b"\x89PNG\r\n\x1a\n" + bytes(50),
    "PDF": lambda: b"%PDF-1.4\n",
    "CSV": lambda: b"a,b\n1,2\n",
    "pickle": lambda: pickle.dumps({"a": 1}),
}  # fmt: skip
REPLACED: tuple[Change, ...] = (
    empty, random_bytes, zeros, words, invalid_utf8, other_format, other_format, pickled, pickle_in_archive,
    torch_payload, object_array, huge_array,
)  # fmt: skip


# Kinds of files


def missing(path: Path, generator: random.Random) -> str:
    path.unlink()
    return "missing"


def folder(path: Path, generator: random.Random) -> str:
    path.unlink()
    path.mkdir()
    return "a folder"


def fifo(path: Path, generator: random.Random) -> str:
    path.unlink()
    os.mkfifo(path)
    return "a FIFO"


def link(path: Path, generator: random.Random) -> str:
    target = path.with_name("moved")
    path.rename(target)
    path.symlink_to(target.name)
    return "a link to the valid file"


def dangling_link(path: Path, generator: random.Random) -> str:
    path.unlink()
    path.symlink_to("nowhere")
    return "a link to nothing"


def looping_link(path: Path, generator: random.Random) -> str:
    path.unlink()
    path.symlink_to(path.name)
    return "a link to itself"


def device(path: Path, generator: random.Random) -> str:
    name = generator.choice(("/dev/zero", "/dev/null", "/dev/full"))
    path.unlink()
    path.symlink_to(name)
    return f"a link to {name}"


def unreadable(path: Path, generator: random.Random) -> str:
    path.chmod(0)
    return "no permission to read"


KINDS: tuple[Change, ...] = (missing, folder, fifo, link, dangling_link, looping_link, device, unreadable)


# JSON

JSON_VALUES = (
    None, True, False, 0, 1, -1, 1.5, 10**12, 2**63, 10**30, 1000000, float("nan"), float("inf"), "", "abc", "0",
    "../..", "é\udcff",
    "cuda:99", "meta", "bf16", [], [0], [-1], [1, "a"], [[1]], [10**9, 10**9], {}, {"a": 1}, "x" * 100_000,
    "missing.npz", "hinton",
    "imdb", "mnist", "a\nb", "\0",
)  # fmt: skip


def json_field(path: Path, generator: random.Random) -> str:
    """Change one field of an object, or of the object in one line."""
    lines = path.read_text(encoding="utf-8").splitlines()
    whole = not path.name.endswith(".jsonl")
    number = generator.randrange(len(lines))
    content = json.loads("\n".join(lines) if whole else lines[number])
    place, steps = content, []
    while True:
        keys = sorted(place) if isinstance(place, dict) else range(len(place))
        if not keys:
            break
        key = generator.choice(list(keys))
        steps.append(key)
        if isinstance(place[key], dict | list) and place[key] and generator.random() < 0.7:
            place = place[key]
            continue
        action = generator.random()
        if action < 0.15:
            del place[key]
            change = "removed"
        elif action < 0.2 and isinstance(place, dict):
            place["unknown"] = 1
            change = "has an unknown neighbor"
        else:
            place[key] = generator.choice(JSON_VALUES)
            change = f"is {str(place[key])[:40]!r}"
        break
    text = json.dumps(content, indent=2 if whole else None)
    text = text if whole else "\n".join([*lines[:number], text, *lines[number + 1 :]])
    path.write_text(text + "\n", encoding="utf-8", errors="surrogatepass")
    return f"{'.'.join(map(str, steps))} {change}"


def json_content(path: Path, generator: random.Random) -> str:
    text = generator.choice(
        (
            "[]",
            "null",
            "1",
            '"a"',
            "{}",
            "[" * 100_000,
            "{",
            '{"a": 1',
            "NaN",
            '{"a": 1}{"a": 2}',
            "\ufeff{}",
            "[1, 2]",
            "{'a': 1}",
        )
    )
    path.write_text(text, encoding="utf-8")
    return f"JSON: {text[:20]}"


# Checkpoints and other files of torch.save


def torch_entry(path: Path, generator: random.Random) -> str:
    """Change one entry of the saved dictionary."""
    content = torch.load(path, weights_only=True)
    place, steps = content, []
    while True:
        key = generator.choice(sorted(place, key=str) if isinstance(place, dict) else range(len(place)))
        steps.append(key)
        value = place[key]
        if isinstance(value, dict | list) and value and generator.random() < 0.8:
            place = value
            continue
        if isinstance(value, torch.Tensor):
            name = generator.choice(sorted(TENSOR_CHANGES))
            place[key] = TENSOR_CHANGES[name](value)
        elif generator.random() < 0.15:
            del place[key]
            name = "removed"
        else:
            place[key] = generator.choice(
                (
                    None,
                    True,
                    0,
                    -1,
                    1.5,
                    float("nan"),
                    10**12,
                    10**30,
                    "abc",
                    "",
                    [],
                    {},
                    [1],
                    {"a": 1},
                    torch.zeros(2),
                    torch.tensor(float("nan")),
                    b"abc",
                )
            )
            name = f"is {str(place[key])[:40]!r}"
        break
    torch.save(content, path)
    return f"{'.'.join(map(str, steps))} {name}"


TENSOR_CHANGES: dict[str, Callable[[torch.Tensor], Any]] = {
    "NaN": lambda x: torch.full_like(x, float("nan")) if x.is_floating_point() else x.float() * float("nan"),
    "one NaN": lambda x: torch.where(torch.arange(x.numel()).view(x.shape) == 0, float("nan"), x.float()),
    "infinity": lambda x: torch.full(x.shape, float("inf")),
    "complex": lambda x: x.to(torch.complex64),
    "integer": lambda x: x.to(torch.int64),
    "boolean": lambda x: x.to(torch.bool),
    "bfloat16": lambda x: x.to(torch.bfloat16),
    "another shape": lambda x: x.flatten()[:1],
    "empty": lambda x: torch.zeros(0),
    "0-d": lambda x: torch.tensor(1.0),
    "sparse": lambda x: x.to_sparse() if x.ndim else x,
    "meta": lambda x: x.to("meta"),
    "expanded": lambda x: torch.zeros(1).expand(x.shape),
    "a number": lambda x: 1.0,
    "None": lambda x: None,
    "a list": lambda x: x.tolist(),
    "a text": lambda x: "abc",
    "huge": lambda x: torch.full(x.shape, 3e38),
    "expanded to 10**12": lambda x: torch.zeros(1).expand(10**12),
}  # fmt: skip


# Word vectors


def vector_header(path: Path, generator: random.Random) -> str:
    content = path.read_bytes()
    _, _, rest = content.partition(b"\n")
    header = generator.choice(
        (b"0 0", b"-1 3", b"3 -1", b"99999999999 3", b"3 99999999999", b"9" * 30 + b" 3", b"3 " + b"9" * 30, b"3", b"",
         b"3 3 3", b"a b",
         b"1e3 3", b" 3 3", b"3\t3", b"\xef\xbb\xbf3 3", b"3.0 3", b"\xd9\xa3 3")
    )  # fmt: skip
    path.write_bytes(header + b"\n" + rest)
    return f"first line {header[:40]!r}"


def vector_row(path: Path, generator: random.Random) -> str:
    row = generator.choice(
        (b"the 0,1 0,2 0,3", b"the nan 1 2", b"the inf 1 2", b"the 1e400 1 2", b"the 1 2", b"the 1 2 3 4", b"the",
         b"", b"the a b c",
         b"caf\xe9 1 2 3", b"my name 1 2 3", b"the\t1\t2\t3", b"the  1  2  3", b"the 1 2 3 ", b"the 1 2 0x3",
         b"the 1 2 3_0", b"1 2 3",
         b" 1 2 3", b"the 1 2 " + b"9" * 100, b"\0 1 2 3", b"the 1 2 3\r")
    )  # fmt: skip
    lines = path.read_bytes().split(b"\n")
    lines[generator.randrange(len(lines))] = row
    path.write_bytes(b"\n".join(lines))
    return f"a line {row[:40]!r}"
