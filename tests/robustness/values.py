"""Objects for calls: valid ones, which the calls begin with, and a pool of bad values.

Both are Python expressions, evaluated in the process that makes the call, so that reports show code that reproduces it.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import forwardforward as ff
from forwardforward.recipes import architectures

# Valid objects


def images() -> torch.Tensor:
    return torch.rand(12, 6, generator=torch.Generator().manual_seed(0))


def maps() -> torch.Tensor:
    return torch.rand(12, 1, 6, 6, generator=torch.Generator().manual_seed(0))


def labels() -> torch.Tensor:
    return torch.arange(12) % 3


def data() -> ff.TensorData:
    return ff.TensorData(images(), labels())


def pair_model(**changes: Any) -> ff.FFSequential:
    plugins: dict[str, Any] = {
        "goodness": ff.goodness.SumOfSquares(),
        "loss": ff.losses.Threshold(),
        "normalization": ff.normalization.RMSNorm(),
        "label_encoder": ff.label_encoders.Concatenation(3),
        "input_shape": (6,),
    }
    return ff.FFSequential(nn.Linear(9, 5), ff.FFLinear(5, 4), **{**plugins, **changes})


def class_model(**changes: Any) -> ff.FFSequential:
    plugins: dict[str, Any] = {
        "goodness": ff.goodness.LearnedProjection(3),
        "loss": ff.losses.CrossEntropy(),
        "input_shape": (6,),
    }
    return ff.FFSequential(ff.FFLinear(6, 6), ff.FFLinear(6, 6), **{**plugins, **changes})


def conv_model(*layers: nn.Module, **changes: Any) -> ff.FFSequential:
    plugins: dict[str, Any] = {
        "goodness": ff.goodness.ClassGroups(3),
        "loss": ff.losses.CrossEntropy(),
        "input_shape": (1, 6, 6),
    }
    return ff.FFSequential(*(layers or (ff.FFConv2d(1, 6, 3),)), **{**plugins, **changes})


def head_model() -> ff.FFSequential:
    return pair_model(head=ff.heads.LinearHead(3), negatives=ff.negatives.HardLabel())


def baseline() -> ff.baselines.Backpropagation:
    return ff.baselines.Backpropagation(ff.FFLinear(6, 5), ff.FFLinear(5, 4), num_classes=3, input_shape=(6,))


def adam() -> ff.LocalOptimizer:
    return ff.LocalOptimizer(torch.optim.Adam, lr=0.01)


def batch() -> ff.Batch:
    return ff.Batch(torch.rand(24, 6), labels(), has_negatives=True)


def history() -> ff.training.History:
    return ff.fit(pair_model(), data(), validation=data(), epochs=1, progress=False)


def evaluation() -> ff.training.Evaluation:
    return ff.evaluate(pair_model(), data())


def stack() -> ff.step.Stack:
    model = pair_model()
    return ff.step.Stack(model.stack, [("0",), ("1",)])


def labeled() -> ff.batches.LabeledInput:
    encoder = ff.label_encoders.Concatenation(3)
    return encoder(images(), labels())


def corpus() -> ff.data.text.Corpus:
    train = [f"a good film {word}" for word in ("plot", "cast", "music", "end")] * 3
    return ff.data.text.Corpus(train, ["a bad film"])


def documents() -> ff.data.text.Documents:
    return ff.data.text.Lexicon().encode(["a good film", "a bad film"])


def vectors() -> ff.data.text.WordVectors:
    return ff.data.text.WordVectors(("a", "film"), np.ones((2, 3), np.float32))


def text_encoder() -> ff.data.text.TextEncoder:
    return ff.data.text.WordSequence(10, 5)(corpus())


def recipe() -> ff.recipes.Recipe:
    return ff.recipes.get("symba").replace(
        widths=(5, 4), epochs=1, batch_size=12, label_encoder=ff.label_encoders.Concatenation
    )


def config() -> ff.runs.RunConfig:
    small = ff.recipes.get("hinton").for_dataset("digits").replace(widths=(5, 4), epochs=1, batch_size=500)
    return ff.runs.RunConfig.from_recipe(small, "digits")


def run() -> ff.runs.Run:
    return ff.runs.Run.create("run", config())


def trained_run() -> ff.runs.Run:
    new = run()
    new.train(progress=False)
    return new


@functools.cache  # they are only read
def trained_runs() -> tuple[ff.runs.Run, ...]:
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    runs = tuple(ff.runs.Run.create(f"{folder}/{name}", replace(config(), validation=True)) for name in ("a", "b"))
    for new in runs:
        new.fit(progress=False)
    return runs


def checkpoint() -> str:
    model = pair_model()
    ff.fit(model, data(), epochs=1, progress=False, checkpoint="checkpoint.pt")
    return "checkpoint.pt"


def vector_file() -> str:
    ff.data.text.write_vectors("vectors.bin", vectors())
    return "vectors.bin"


def review_folder() -> str:
    for number, place in enumerate(("train/neg", "train/pos", "test/neg", "test/pos")):
        folder = Path("aclImdb", place)
        folder.mkdir(parents=True, exist_ok=True)
        for file in range(6):
            (folder / f"{file}_{number}.txt").write_text("A film.")
    return "aclImdb"


class Endless:
    """An iterable without an end."""

    def __iter__(self) -> Iterator[int]:
        return itertools.repeat(1)


class Uninitialized(nn.Module):
    """A module whose constructor does not call that of its base."""

    def __init__(self) -> None:
        pass


class Raises:
    """An object that cannot be shown, compared or used."""

    def __repr__(self) -> str:
        return "Raises()"

    def __bool__(self) -> bool:
        raise RuntimeError("no truth value")

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return float("nan")


def nan_like(*arguments: torch.Tensor) -> torch.Tensor:
    return arguments[0].flatten(1).sum(1) * float("nan")


NAMES: dict[str, Any] = {
    **{name: value for name, value in globals().items() if not name.startswith("_")},
    "nan": float("nan"),
    "inf": float("inf"),
    "Fraction": Fraction,
    "Decimal": Decimal,
    "architectures": architectures,
    "partial": __import__("functools").partial,
}


def evaluate(expression: str, **names: Any) -> Any:
    """Return the value of an expression, with the names of this module."""
    return eval(expression, {**NAMES, **names})


# Bad values, by the kind of parameter for which they are nearly right

NUMBERS = (
    "nan", "inf", "-inf", "-1", "0", "-0.5", "0.5", "1.5", "1e-300", "1e308", "-1e308", "10**7", "10**12", "2**31",
    "2**63", "10**30", "-10**30", "10**400", "True", "False", "'3'", "'nan'", "''", "None", "1 + 2j", "Fraction(1, 3)",
    "Decimal('0.5')", "Decimal('NaN')", "np.int64(3)", "np.int64(-1)", "np.float32(0.5)", "np.float64('nan')",
    "np.bool_(True)", "np.array(3)", "np.array([1.0, 2.0])", "torch.tensor(2)", "torch.tensor(0.5)",
    "torch.tensor(nan)", "torch.tensor([1.0, 2.0])", "[]", "[1, 2]", "(1, 2)", "(0, -1)", "(2, 'a')",
    "(10**12, 10**12)",
    "(nan, nan)", "(1, 2, 3, 4, 5)", "[[1], [2]]",
)  # fmt: skip
TENSORS = (
    "torch.rand(12, 7)", "torch.rand(0, 6)", "torch.rand(())", "torch.rand(6)", "torch.rand(12, 1, 6, 6)",
    "torch.rand(12, 0)", "torch.rand(1, 6)", "torch.rand(12, 6).T", "torch.rand(4, 6)", "torch.rand(12, 6, 2, 2, 2)",
    "torch.full((12, 6), nan)", "torch.full((12, 6), inf)", "torch.full((12, 6), 1e30)", "torch.full((12, 6), -1e38)",
    "torch.full((4,), nan)", "torch.zeros(12, 6)", "torch.zeros(12, 6, dtype=torch.complex64)",
    "torch.zeros(12, 6, dtype=torch.bool)", "torch.zeros(12, 6, dtype=torch.int64)",
    "torch.zeros(12, 6, dtype=torch.float64)", "torch.zeros(12, 6, dtype=torch.float16)",
    "torch.zeros(12, 6, dtype=torch.uint8)", "torch.rand(12, 6, device='meta')", "torch.rand(12, 6).to_sparse()",
    "torch.rand(12, 6, requires_grad=True)", "np.random.rand(12, 6)", "np.zeros((12, 6), object)",
    "np.zeros((12, 6), 'datetime64[s]')", "np.array(['a'] * 12)", "np.zeros(12, [('a', float)])",
    "np.full((12, 6), nan)",
    "torch.arange(12) - 1", "torch.arange(12) % 3", "torch.arange(11) % 3", "torch.arange(12)",
    "torch.arange(12).float()",
    "torch.full((12,), 10**7)", "torch.tensor([], dtype=torch.int64)", "torch.arange(12) % 3 == 0",
    "torch.arange(12).view(12, 1) % 3", "(torch.arange(12) % 3).to(torch.uint8)", "np.arange(12) % 3",
    "(images(), labels())", "(images(), None)", "(images(), labels(), labels())", "(images(),)", "(labels(), images())",
    "(images(), labels() - 1)", "(images(), labels() + 10**7)", "(torch.full((12, 6), nan), labels())",
    "(images().double(), labels())", "(images(), labels().float())", "(images(), labels()[:5])", "[]", "'images'",
    "None", "images", "[images(), labels()]", "{'images': images()}", "1", "nan", "ff.TensorData",
    "torch.utils.data.DataLoader([])", "torch.utils.data.TensorDataset(images(), labels())", "Endless()",
    "torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images(), labels(), labels()), batch_size=4)",
)  # fmt: skip
PLUGINS = (
    "ff.losses.SymBa()", "ff.losses.SymBa", "ff.losses.CrossEntropy()", "ff.losses.SupervisedContrastive()",
    "ff.losses.Threshold()", "ff.goodness.SumOfSquares()", "ff.goodness.SumOfSquares", "ff.goodness.ClassGroups(3)",
    "ff.goodness.ClassGroups(7)", "ff.goodness.MeanOfSquaresByPosition()", "ff.goodness.Goodness()",
    "ff.negatives.RandomLabel()", "ff.negatives.RandomLabel", "ff.negatives.SelfContrast()", "ff.negatives.Negatives()",
    "ff.negatives.HybridMask()", "ff.normalization.RMSNorm()", "ff.normalization.RMSNorm",
    "ff.normalization.PeerNormalization()", "ff.normalization.Normalization()", "ff.label_encoders.Overlay(3)",
    "ff.label_encoders.Overlay(7)", "ff.label_encoders.Overlay", "ff.label_encoders.LabelEncoder(3)",
    "ff.heads.LinearHead(3)", "ff.heads.LinearHead", "ff.heads.LinearHead(7)", "ff.pooling.SpatialPool()",
    "ff.pooling.SequencePool()", "ff.preprocessing.Preprocessing()", "ff.preprocessing.Preprocessing",
    "ff.update_schedules.Joint()", "ff.update_schedules.Joint", "ff.update_schedules.Staggered([(0, 1)])",
    "ff.lr_schedules.Cooldown()", "ff.lr_schedules.Cooldown",
    "ff.objectives.PairObjective(ff.goodness.SumOfSquares(), ff.losses.SymBa())", "ff.objectives.Objective()",
    "ff.objectives.ClassObjective(ff.goodness.ClassGroups(3), ff.losses.CrossEntropy())", "ff.objectives.Embedding()",
    "ff.classifiers.SumOverLayers()", "ff.classifiers.BestInterval()", "ff.classifiers.SumOverLayers",
    "ff.data.RandomFlip()", "ff.data.RandomFlip", "ff.training.EarlyStopping(2)", "ff.training.EarlyStopping",
    "nn.ReLU()", "nn.ReLU", "nn.Linear(6, 3)", "nn.LSTM(6, 3)", "nn.Sequential()", "nn.ModuleList()", "Uninitialized()",
    "nn.Linear(6, 6)", "nn.Identity()", "nn.Flatten()", "ff.FFLinear(6, 5)", "pair_model()", "class_model()",
    "torch.optim.Adam", "torch.optim.LBFGS", "torch.optim.Adam([nn.Parameter(torch.zeros(1))])", "adam()", "data()",
    "lambda: None", "lambda x: x", "lambda x: None", "lambda x: x * nan", "lambda x, y: x", "lambda x, y: None",
    "lambda a, b, c, d: a", "nan_like", "Raises()", "print", "len", "torch.relu", "1", "'relu'", "'head'", "None",
    "[nn.ReLU()]", "(nn.ReLU(), nn.ReLU())", "False", "{}", "[]", "ff.recipes.get('symba')", "recipe()", "config()",
    "ff.recipes.Recipe", "history()", "ff.data.text.NGrams()", "ff.data.text.NGrams", "corpus()", "vectors()",
)  # fmt: skip
TEXTS = (
    "'abc'", "''", "'a b'", "'\\0'", "'x' * 300", "b'abc'", "Path('missing')", "Path('.')", "'missing/file'", "'.'",
    "'/dev/null/x'", "'mean'", "'max'", "'cpu'", "'cuda'", "'cuda:99'", "'meta'", "'bf16'", "'float16'", "1", "-1",
    "True",
    "None", "nan", "[]", "['a']", "('a', 'a')", "('a', '')", "(1, 2)", "{'a': 1}", "{1, 2}", "{}", "object()",
    "torch.device('cuda:99')", "torch.float32", "torch.int64", "str", "np.str_('abc')", "np.array(['a', 'b'])",
    "'é\\udcff'",
)  # fmt: skip
OTHERS = (
    "object()", "int", "type", "nn.Linear", "Ellipsis", "NotImplemented", "b''", "(i for i in range(3))", "iter([])",
    "itertools.repeat(0)", "Endless()", "range(3)", "range(0)", "range(10**12)", "slice(None)", "slice(0, 0)",
    "slice(5, None)", "slice('a', 'b')", "slice(None, None, -1)", "{'a': 1}", "{0.5: 0.1}", "{0.0: nan}", "{0.5: 'a'}",
    "{nan: 1.0}", "{-1: 1.0}", "{2.0: -1.0}", "{'0': {'lr': 0.1}}", "{'0': 1}", "{'9': {'lr': 0.1}}", "{'lr': -1}",
    "{1, 2}", "[None]", "[object()]", "['a', 1]", "[(0, 1)]", "[(1, 0)]", "[(0.5, nan)]", "[(0, 1, 2)]", "[range(1)]",
    "[range(9)]", "[range(0)]", "[[0], [1]]", "torch.Generator()", "torch.Generator", "torch.float32", "torch.int64",
    "torch.bfloat16", "np", "Exception('x')", "Uninitialized", "partial(int)", "map(int, ['1'])", "memoryview(b'abc')",
    "ff.specs.LayerSpec(0, (6,))", "ff.specs.LayerSpec(0, (6, 3, 3))", "ff.specs.LayerSpec(0, ())",
    "ff.specs.LayerSpec(5, (1, 1, 1, 1))", "batch()", "ff.Batch(images(), labels())", "ff.Batch(images())",
    "labeled()", "stack()",
    "evaluation()", "text_encoder()", "documents()", "architectures.Dense()", "architectures.Dense",
)  # fmt: skip
POOLS = {"numbers": NUMBERS, "tensors": TENSORS, "plugins": PLUGINS, "texts": TEXTS, "others": OTHERS}
