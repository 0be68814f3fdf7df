"""Tests of saved models: what is saved, what a configuration may name, and which files are refused."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import forwardforward as ff
from forwardforward.saving import from_config, to_config
from forwardforward.saving.names import TORCH_MODULES, known_classes
from tests.robustness import interface

pytest.importorskip("safetensors")

X, Y = torch.rand(20, 8, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 3

FEW = ("hinton", "mono-conv", "imdb-sequence", "feedback-alignment", "pepita")


class Shifted(ff.goodness.Goodness):
    """A user's plug-in."""

    def __init__(self, shift: float) -> None:
        super().__init__()
        self.shift = shift

    def forward(self, activations: Tensor) -> Tensor:
        return activations.square().sum(1) - self.shift


class Secretive(Shifted):
    """A plug-in with state that is not among its arguments."""

    def __init__(self, shift: float) -> None:
        super().__init__(shift)
        self.factor = 1.0

    def forward(self, activations: Tensor) -> Tensor:
        return self.factor * super().forward(activations)


def double(x: Tensor) -> Tensor:
    """A user's activation."""
    return 2 * x.relu()


def network(**options: Any) -> ff.FFSequential:
    torch.manual_seed(0)
    plugins = {"goodness": ff.goodness.LearnedProjection(3), "loss": ff.losses.CrossEntropy(), **options}
    activation = plugins.pop("activation", None)
    return ff.FFSequential(ff.FFLinear(8, 6, activation), ff.FFLinear(6, 5), **plugins)


def pairs(**options: Any) -> ff.FFSequential:
    plugins = {"goodness": ff.goodness.SumOfSquares(), "loss": ff.losses.SymBa(), **options}
    return network(label_encoder=ff.label_encoders.Overlay(3), **plugins)


def saved(folder: Path, model: ff.FFSequential | None = None) -> Path:
    (network() if model is None else model).save_pretrained(folder)
    return folder


def assert_same(a: nn.Module, b: nn.Module) -> None:
    states = a.state_dict(), b.state_dict()
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


def check_recipe(name: str, folder: Path) -> None:
    recipe = ff.recipes.get(name).for_dataset("digits")
    shape = (60,) if recipe.representation is not None else (1, 8, 8)
    torch.manual_seed(0)
    predicts_values = isinstance(recipe.target_kind, ff.targets.RealValues)
    model = recipe.model(shape, None if predicts_values else 10)
    if model.preprocessing.needs_fit:
        model.preprocessing.fit(torch.rand(20, *shape))
    if isinstance(model.stack[0], ff.layers.FFEmbeddingBag) and model.needs_fit:
        model.save_pretrained(folder / "unfitted")
        model.stack[0].fit([(torch.randint(model.num_embeddings, (20, *shape)), torch.eye(10).repeat(2, 1))])
    model.save_pretrained(folder)
    torch.manual_seed(1)
    loaded = type(model).from_pretrained(folder)
    assert_same(model, loaded)
    assert to_config(loaded) == to_config(model)
    indices = model.num_embeddings is not None
    x = torch.randint(model.num_embeddings, (5, *shape)) if indices else torch.rand(5, *shape)
    assert torch.equal(loaded.scores(x), model.scores(x))


@pytest.mark.parametrize("name", FEW)
def test_the_model_of_a_recipe_is_built_again(name: str, tmp_path: Path) -> None:
    check_recipe(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ff.recipes.RECIPES if name not in FEW])
def test_the_model_of_every_recipe_is_built_again(name: str, tmp_path: Path) -> None:
    check_recipe(name, tmp_path)


def plugin_calls() -> dict[str, str]:
    """A valid constructor call of every public class that a configuration may name."""
    calls = {}
    for subject in interface.subjects():
        module, _, name = subject.target.removeprefix("ff.").rpartition(".")
        full_name = f"{module}.{name}"
        if subject.category == "constructors" and full_name in known_classes():
            listed = [text for key, text in subject.arguments if key.startswith("*")]
            named = [f"{key}={text}" for key, text in subject.arguments if not key.startswith("*")]
            calls[full_name] = f"{subject.target}({', '.join([*listed, *named])})"
    return calls


def test_every_plug_in_is_described_by_its_constructors_arguments() -> None:
    calls = plugin_calls()
    assert len(calls) > 40
    for name, call in calls.items():
        if name.startswith("lr_schedules.FromTorch"):  # names a class of torch
            continue
        plugin = interface.evaluate(call)
        config = to_config(plugin)
        assert config["class"] == name
        again = from_config(json.loads(json.dumps(config)))
        assert to_config(again) == config, name
        assert repr(again) == repr(plugin), name


BLOCKS = (
    nn.Sequential(nn.Linear(8, 6, bias=False), nn.LeakyReLU(0.3), nn.Dropout(0.2)),
    nn.Conv2d(3, 4, (3, 1), stride=2, padding="valid", padding_mode="zeros", bias=False),
    nn.BatchNorm2d(4, eps=1e-3, momentum=None, affine=False),
    nn.LayerNorm((4, 2), bias=False),
    nn.MultiheadAttention(8, 2, dropout=0.1, bias=False, add_bias_kv=True, batch_first=True),
    nn.TransformerEncoderLayer(8, 2, 16, activation="gelu", batch_first=True, norm_first=True),
    nn.LSTM(8, 6, 2, batch_first=True, bidirectional=True, proj_size=3),
    nn.GRU(8, 6, bias=False),
    nn.RNN(8, 6, nonlinearity="relu"),
    nn.EmbeddingBag(9, 4, mode="sum", padding_idx=0),
    nn.AdaptiveAvgPool2d((None, 2)),
    nn.Hardtanh(-2.0, 3.0),
)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: type(block).__name__)
def test_modules_of_torch_are_described(block: nn.Module) -> None:
    again = from_config(json.loads(json.dumps(to_config(block))))
    assert repr(again) == repr(block)
    shapes = [{name: value.shape for name, value in module.state_dict().items()} for module in (block, again)]
    assert shapes[0] == shapes[1]


def test_all_names_of_torch_exist() -> None:
    assert all(issubclass(getattr(nn, name), nn.Module) for name in TORCH_MODULES)


def test_everything_beside_the_weights_is_restored(tmp_path: Path) -> None:
    model = network(
        preprocessing=ff.preprocessing.Preprocessing(standardize=True),
        normalization=ff.normalization.BatchNorm(affine=True),
        classifier=ff.classifiers.BestInterval(),
    )
    data = ff.TensorData(X, Y, class_names=("a", "b", "c"))
    grow = ff.training.GrowNetwork(lambda depth: ff.FFLinear(5, 4), lambda history: len(history) == 1)
    ff.fit(model, data, validation=data, epochs=2, batch_size=5, callbacks=[grow], progress=False)
    model[0].block.bias.requires_grad_(False)
    model[1].optimizer_options["lr"] = 0.5
    model.card = {"data": "mine", "errors": [1.5, 2]}
    model.save_pretrained(tmp_path)
    loaded = ff.FFSequential.from_pretrained(tmp_path)
    assert_same(model, loaded)
    assert len(loaded) == 3
    assert loaded.class_names == ("a", "b", "c")
    assert loaded.epochs_trained == 2
    assert loaded.card == model.card
    assert loaded[1].optimizer_options == {"lr": 0.5}
    assert not loaded.training
    assert [name for name, p in loaded.named_parameters() if not p.requires_grad] == ["layers.0.block.bias"]
    assert torch.equal(loaded.predict_proba(X), model.predict_proba(X))
    history = ff.fit(loaded, data, epochs=1, progress=False)  # and it can be trained further
    assert len(history) == 1
    loaded.append(ff.FFLinear(4, 4))  # by the network's default plug-ins


def test_a_double_precision_model_stays_one_and_half_precision_halves_the_file(tmp_path: Path) -> None:
    model = network().double()
    model.setup((8,))
    model.save_pretrained(tmp_path / "double")
    assert_same(ff.FFSequential.from_pretrained(tmp_path / "double"), model)
    wide = ff.FFSequential(
        ff.FFLinear(8, 200), goodness=ff.goodness.LearnedProjection(3), loss=ff.losses.CrossEntropy()
    )
    wide.save_pretrained(tmp_path / "single")
    wide.save_pretrained(tmp_path / "half", dtype=torch.float16)
    single, half = ((tmp_path / name / "model.safetensors").stat().st_size for name in ("single", "half"))
    assert half < 0.6 * single
    loaded = ff.FFSequential.from_pretrained(tmp_path / "half")
    assert loaded.dtype == torch.float32
    torch.testing.assert_close(loaded.predict_proba(X), wide.predict_proba(X), rtol=1e-2, atol=1e-3)
    with torch.no_grad():
        wide[0].block.weight[0, 0] = 1e6
    with pytest.raises(
        ValueError, match=r"^dtype must represent every weight, got torch.float16 for layers.0.block.we"
    ):
        wide.save_pretrained(tmp_path / "half", dtype=torch.float16)


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.bool, torch.complex64, torch.float8_e5m2])
def test_a_type_in_which_weights_cannot_be_stored_is_refused(dtype: torch.dtype, tmp_path: Path) -> None:
    model = network()
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=rf"^dtype must be one of torch.float64, .*, got {dtype}$"):
        model.save_pretrained(tmp_path, dtype=dtype)
    assert_same(ff.FFSequential.from_pretrained(tmp_path), model)
    with pytest.raises(TypeError, match="^dtype must be"):
        model.save_pretrained(tmp_path, dtype="float16")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="^folder must be"):
        model.save_pretrained(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("uses_model", ["fit", "predict", "setup"])
def test_a_network_that_was_set_up_with_rows_is_saved_after_it_was_used_with_images(
    uses_model: str, tmp_path: Path
) -> None:
    model = network()
    images = X.view(20, 1, 2, 4)
    if uses_model == "fit":
        ff.fit(model, (images, Y), epochs=1, progress=False)
    elif uses_model == "predict":
        model.predict(images)
    else:
        model.setup((1, 2, 4))
    model.save_pretrained(tmp_path)
    assert torch.equal(ff.FFSequential.from_pretrained(tmp_path).scores(images), model.eval().scores(images))


def test_what_differs_after_building_again_is_named(tmp_path: Path) -> None:
    model = network(input_shape=(8,))
    model[0].input_shape = (2, 4)
    message = r"has another configuration\.[\w.]*input_shape[\w.]*: .* in place of "
    with pytest.raises(ValueError, match=f"^model cannot be saved, since a model built .* {message}"):
        model.save_pretrained(tmp_path)


def test_replicas_are_saved_one_by_one(tmp_path: Path) -> None:
    replicas = ff.replicate(lambda: network(input_shape=(8,)), seeds=[0, 1])
    with pytest.raises(TypeError, match=r"^replicas are saved one by one: replicas.member\(0\)"):
        replicas.save_pretrained(tmp_path / "all")
    with pytest.raises(TypeError, match=r"^replicas have no such copy: replicas.member\(0\)"):
        replicas.for_prediction()
    replicas.member(1).save_pretrained(tmp_path)
    assert torch.equal(ff.FFSequential.from_pretrained(tmp_path).predict(X), replicas.predict(X)[1])


# The user's plug-ins


def embedding_weights(model: ff.FFSequential) -> int:
    """Return the number of weights of losses over embeddings."""
    losses = [part for part in model.modules() if isinstance(part, ff.objectives.BatchObjective)]
    return sum(p.numel() for loss in losses for p in loss.parameters())


def contrast() -> ff.objectives.Objective:
    return ff.objectives.BatchObjective(ff.losses.SupervisedContrastive(), ff.objectives.Embedding(4))


@pytest.mark.parametrize("order", ["goodness first", "loss over embeddings first", "pooled"])
def test_weights_that_only_training_reads_are_left_out_for_prediction(order: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    classes = ff.objectives.ClassObjective(ff.goodness.LearnedProjection(3), ff.losses.CrossEntropy())
    total: ff.objectives.Objective = contrast() + classes if order.startswith("loss") else classes + contrast()
    if order == "pooled":
        total = ff.objectives.PooledObjective(total, nn.Flatten())
    model = ff.FFSequential(ff.FFLinear(8, 5), ff.FFLinear(5, 6), objective=total)
    ff.fit(model, ff.TensorData(X, Y), epochs=1, progress=False)
    expected = model.eval().scores(X)
    smaller = model.train().for_prediction()
    assert not smaller.training
    assert model.training
    assert embedding_weights(model) == 2 * (5 + 6) + 4 * (5 + 6) + 2 * 4
    assert embedding_weights(smaller) == 0
    total_weights = [sum(p.numel() for p in network.parameters()) for network in (model, smaller)]
    assert total_weights[0] - total_weights[1] == embedding_weights(model)
    smaller.save_pretrained(tmp_path)
    for network in (smaller, ff.FFSequential.from_pretrained(tmp_path)):
        assert torch.equal(network.scores(X), expected)
    ff.fit(smaller, ff.TensorData(X, Y), epochs=1, progress=False)
    assert not torch.equal(smaller.eval().scores(X), expected)
    assert torch.equal(model.eval().scores(X), expected)  # a copy


def test_a_network_without_a_goodness_keeps_its_objectives_for_prediction() -> None:
    torch.manual_seed(0)
    model = ff.FFSequential(
        ff.FFLinear(8, 5), ff.FFLinear(5, 6), objective=contrast(), head=ff.heads.LinearHead(3), input_shape=(8,)
    ).eval()
    smaller = model.for_prediction()
    assert embedding_weights(smaller) == embedding_weights(model) > 0
    assert torch.equal(smaller.scores(X), model.scores(X))


def test_a_users_plug_in_is_refused_unless_it_is_passed(tmp_path: Path) -> None:
    model = pairs(goodness=Shifted(0.5), activation=double)
    model.save_pretrained(tmp_path)
    with pytest.raises(
        ValueError, match=r"layers\[0\].activation: function 'double' is not part of this library: pass "
    ):
        ff.FFSequential.from_pretrained(tmp_path)
    with pytest.raises(
        ValueError, match=r"layers\[0\].objective.goodness: class 'Shifted' is not part of this library"
    ):
        ff.FFSequential.from_pretrained(tmp_path, plugins=[double])
    loaded = ff.FFSequential.from_pretrained(tmp_path, plugins=[double, Shifted])
    assert torch.equal(loaded.predict_proba(X), model.predict_proba(X))
    assert loaded[1].objective.goodness.shift == 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda model: setattr(model, "classifier", lambda g: g.sum(1)),
            "^model.classifier cannot be saved: a function must ",
        ),
        (
            lambda model: setattr(model, "classifier", double.__get__(3)),
            "^model.classifier cannot be saved: a method is part",
        ),
        (
            lambda model: setattr(model, "classifier", partial(torch.sum, dim=1)),
            "^model.classifier cannot be saved: an obj",
        ),
        (
            lambda model: setattr(model[1].objective.goodness, "factor", 2.0),
            "^model cannot be saved, since a model built ",
        ),
        (
            lambda model: setattr(model[0], "block", nn.Bilinear(1, 1, 1)),
            r"^model.layers\[0\] cannot be saved: block of FFLinear",
        ),
        (
            lambda model: delattr(model[0].objective.goodness, "shift"),
            "must store its constructor's argument 'shift' as",
        ),
    ],
)
def test_what_would_be_lost_is_refused(change: Any, message: str, tmp_path: Path) -> None:
    model = pairs(goodness=Secretive(0.5))
    model.setup((8,))
    change(model)
    with pytest.raises(ValueError, match=message) as error:
        model.save_pretrained(tmp_path / "model")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "model").exists()


def test_a_network_of_a_module_is_saved_by_the_lines_in_the_message(tmp_path: Path) -> None:
    def make() -> ff.FFSequential:
        module = nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(6), nn.ReLU())
        preprocessing = ff.preprocessing.Preprocessing(standardize=True)
        return ff.from_module(module, num_classes=2, input_shape=(8,), preprocessing=preprocessing)

    data, model = ff.TensorData(torch.rand(20, 8), torch.arange(20) % 2, class_names=("cat", "dog")), make()
    ff.fit(model, data, epochs=1, progress=False)
    with pytest.raises(ValueError, match="cannot be saved") as error:
        model.save_pretrained(tmp_path / "model")
    save, *load = re.findall("`(.+?)`", str(error.value))
    names = {"torch": torch, "FILE": tmp_path / "weights.pt"}
    exec(save, {**names, "model": model})
    loaded = make().eval()
    names["model"] = loaded
    for line in load:
        exec(line, names)
    assert loaded.class_names == ("cat", "dog")
    assert torch.equal(loaded.predict_proba(data.inputs), model.predict_proba(data.inputs))


def test_a_traced_module_and_an_argument_of_itself_are_refused(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU())
    model = ff.from_module(module, num_classes=3, input_shape=(8,))
    with pytest.raises(
        ValueError, match=r"^model.layers\[0\].block cannot be saved: a module traced by ff.from_module"
    ) as error:
        model.save_pretrained(tmp_path / "model")
    assert "\n" not in str(error.value)
    goodness = Secretive(0.5)
    goodness.shift = goodness  # type: ignore[assignment]
    with pytest.raises(ValueError, match="is an argument of itself"):
        to_config(goodness)


def test_a_model_whose_shapes_are_not_known_is_refused(tmp_path: Path) -> None:
    model = ff.FFSequential(nn.LazyLinear(6), goodness=ff.goodness.LearnedProjection(3), loss=ff.losses.CrossEntropy())
    with pytest.raises(ValueError, match="^the input's shape must be known to save a model"):
        model.save_pretrained(tmp_path)


def test_saving_and_loading_leave_the_random_state_and_the_mode_alone(tmp_path: Path) -> None:
    model = network().train()
    model.setup((8,))
    state = torch.get_rng_state()
    model.save_pretrained(tmp_path)
    ff.FFSequential.from_pretrained(tmp_path)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training for module in model.modules())


# Files of others

NAMES = (
    *("os.system", "builtins.eval", "subprocess.Popen", "antigravity.x", "torch.nn.Module", "torch.load", "runs.Run"),
    *("goodness.torch", "goodness.__doc__", "layers.layer.FFLayer", "data.load", "forwardforward.FFLinear", "eval"),
    *("goodness.", ".", "", "training.Checkpoint", "label_encoders.LabelEncoder.__init__", 3, None, ["a"], {"a": 1}),
)


@pytest.mark.parametrize("name", NAMES, ids=str)
@pytest.mark.parametrize("kind", ["class", "function"])
def test_no_other_name_is_resolved(kind: str, name: Any) -> None:
    modules = set(sys.modules)
    with pytest.raises(ValueError, match=f"^config: {kind} "):
        from_config({kind: name, "bufsize": 1})
    assert set(sys.modules) == modules


@pytest.mark.parametrize(
    "config",
    [
        {"class": "goodness.TopK", "k": "x" * 10},
        {"class": "goodness.TopK", "other": 1},
        {"class": "layers.FFLinear", "in_features": 10**12, "out_features": 10**12},
        {"class": "torch.nn.Linear", "in_features": -1, "out_features": 2},
        {"class": "lr_schedules.FromTorch", "scheduler": {"function": "torch.relu"}, "epochs": 2},
        {"class": "torch.nn.Sequential", "args": [1, 2]},
        {"class": "torch.nn.Sequential", "args": 5},
        {"slice": [1, 2, 3, 4]},
        {"mapping": 5},
        {"tensor": [[1], [1, 2]], "dtype": "float32"},
        {"tensor": [1], "dtype": "__class__"},
        {"number": "__import__"},
        {"class": "goodness.TopK", "function": "torch.relu"},
        {},
    ],
    ids=str,
)
def test_wrong_arguments_are_refused_in_one_line(config: Any) -> None:
    with pytest.raises(ValueError, match="^config") as error:
        from_config(config)
    assert "\n" not in str(error.value)


def nested(depth: int) -> str:
    return '{"format": "forwardforward-model-1", "model": ' + '{"class": ["' * depth


def replaced(folder: Path, **entries: Any) -> None:
    """Change entries of a configuration."""
    content = {**json.loads((folder / "config.json").read_text()), **entries}
    (folder / "config.json").write_text(json.dumps(content))


def rewritten(folder: Path, change: Any) -> None:
    """Change the weights, with the right checksum."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
    replaced(folder, sha256=hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest())


def text_of(content: str) -> Any:
    return lambda folder: (folder / "config.json").write_text(content)


def bytes_of(content: Any) -> Any:
    def write(folder: Path) -> None:
        path = folder / "model.safetensors"
        path.write_bytes(content(path.read_bytes()))

    return write


def foreign_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\x80\x04pickled")
    replaced(folder, sha256=hashlib.sha256(b"\x80\x04pickled").hexdigest())


WEIGHT = "layers.0.block.weight"

DAMAGES: dict[str, tuple[Any, str]] = {
    "flipped bit": (bytes_of(lambda c: c[:-3] + bytes([c[-3] ^ 1]) + c[-2:]), "its checksum differs$"),
    "truncated": (bytes_of(lambda c: c[:-10]), "its checksum differs$"),
    "empty": (bytes_of(lambda c: b""), "its checksum differs$"),
    "pickle": (foreign_weights, "is not a file of weights"),
    "no json": (text_of("{"), "is not the configuration of a saved model"),
    "binary": (lambda f: (f / "config.json").write_bytes(b"\xff\xfe\x00"), "is not the configuration of a saved model"),
    "deep": (text_of(nested(100_000)), "is not the configuration of a saved model"),
    "bert": (text_of('{"model_type": "bert"}'), "its format must be 'forwardforward-model-1', got None$"),
    "list": (text_of("[]"), "it must be an object"),
    "nan": (text_of('{"format": NaN}'), "its numbers must be finite"),
    "missing entry": (text_of('{"format": "forwardforward-model-1"}'), "it lacks version$"),
    "no model": (lambda f: replaced(f, model={"class": "goodness.L1"}), "its weights have layers.0"),
    "a number": (lambda f: replaced(f, model={"number": "1"}), "model must be a network"),
    "dtype": (lambda f: replaced(f, dtype="int8"), "dtype must be one of"),
    "class names": (lambda f: replaced(f, class_names=[1]), "class_names must be strings"),
    "frozen": (lambda f: replaced(f, frozen=["x"]), "frozen must name parameters of the model, got 'x'$"),
    "lack": (lambda f: rewritten(f, lambda t: t.pop(WEIGHT)), f"its weights lack {WEIGHT}$"),
    "more": (lambda f: rewritten(f, lambda t: t.update(x=t[WEIGHT].clone())), "have x, which is not the model's$"),
    "shape": (lambda f: rewritten(f, lambda t: t.update({WEIGHT: t[WEIGHT].T.contiguous()})), r"the shape \(8, 6\) of"),
    "type": (lambda f: rewritten(f, lambda t: t.update({WEIGHT: t[WEIGHT].int()})), "have the type torch.int32 of"),
    "not finite": (lambda f: rewritten(f, lambda t: t[WEIGHT].fill_(float("nan"))), "must contain finite weights"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_corrupted_and_foreign_files_are_refused_in_one_line(damage: str, tmp_path: Path) -> None:
    folder = saved(tmp_path / "model")
    change, message = DAMAGES[damage]
    change(folder)
    with pytest.raises(ValueError, match=message) as error:
        ff.FFSequential.from_pretrained(folder)
    assert "\n" not in str(error.value)
    assert str(folder) in str(error.value)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"^there is no saved model in .*: it has no config.json$"):
        ff.FFSequential.from_pretrained(tmp_path)
    saved(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r": it has no model.safetensors$"):
        ff.FFSequential.from_pretrained(tmp_path)
    with pytest.raises(OSError, match=r"^folder .*config.json/model cannot be made: Not a directory$"):
        saved(tmp_path / "config.json" / "model")
    with pytest.raises(ValueError, match=r"^device 'cuda:99' is not available"):
        ff.pretrained("tiny", device="cuda:99")


def test_a_model_of_another_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must contain a model of the class Backpropagation, got FFSequential$"):
        ff.baselines.Backpropagation.from_pretrained(saved(tmp_path))
    with pytest.raises(ValueError, match=r"^revision must be left out for a folder, got 'main'$"):
        ff.FFSequential.from_pretrained(tmp_path, revision="main")


def test_files_of_something_else_are_kept(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FileExistsError, match=r"already contains config.json, which is not that of a saved model$"):
        network().save_pretrained(tmp_path)
    assert (tmp_path / "config.json").read_text() == "{}"
    folder = saved(tmp_path / "model")
    (folder / "README.md").write_text("my own card")
    saved(folder)  # replaces a model that was saved before, but not a card that was edited
    assert (folder / "README.md").read_text() == "my own card"


# Runs, the hub, and the library's networks


def test_the_card_is_written_from_the_run_and_load_reads_both_folders(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    recipe = ff.recipes.get("mono").for_dataset("digits").replace(widths=(10,), epochs=1)
    run = ff.runs.Run.create(tmp_path / "run", ff.runs.RunConfig.from_recipe(recipe, "digits", command="the command"))
    summary = run.train(progress=False)
    model = ff.load(tmp_path / "run")
    model.save_pretrained(tmp_path / "model")
    card = (tmp_path / "model" / "README.md").read_text()
    for text in ("# mono on digits", "| command | the command |", f"| test error, % | {summary['test_error']:.4g} |"):
        assert text in card
    assert "0: Linear(in_features=64, out_features=10, bias=True), ClassObjective(" in card
    loaded = ff.load(tmp_path / "model")
    assert_same(loaded, model)
    assert loaded.epochs_trained == 1
    assert loaded.card == model.card


@pytest.mark.slow
def test_a_moved_folder_is_loaded_in_a_new_process(tmp_path: Path) -> None:
    model = pairs()
    model.setup((8,))
    saved(tmp_path / "a", model)
    shutil.move(tmp_path / "a", tmp_path / "b")
    program = f"""if True:
        import torch, forwardforward as ff
        model = ff.load({str(tmp_path / "b")!r})
        print(model.predict(torch.linspace(0, 1, 40).view(5, 8)).tolist())
    """
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert json.loads(output) == model.predict(torch.linspace(0, 1, 40).view(5, 8)).tolist()


class FakeHub:
    """The hub's client, with a folder in place of the network."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls: list[Any] = []

    def hf_hub_download(self, name: str, file: str, revision: str | None = None) -> str:
        self.calls.append((name, file, revision))
        if not (self.folder / name).is_dir():
            raise RuntimeError("404\nnot found")
        return str(self.folder / name / file)

    def HfApi(self, library_name: str) -> Any:  # noqa: N802
        def create_repo(name: str, private: bool, exist_ok: bool) -> str:
            self.calls.append((name, private, exist_ok))
            return f"https://hub/{name}"

        def upload_folder(repo_id: str, folder_path: str, commit_message: str) -> None:
            shutil.copytree(folder_path, self.folder / repo_id)

        return SimpleNamespace(create_repo=create_repo, upload_folder=upload_folder)


def test_models_are_uploaded_to_and_downloaded_from_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = FakeHub(tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    model = network()
    assert model.push_to_hub("user/name", private=True, dtype=torch.bfloat16) == "https://hub/user/name"
    assert sorted(path.name for path in (tmp_path / "user/name").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    loaded = ff.FFSequential.from_pretrained("user/name", revision="v1")
    torch.testing.assert_close(loaded.predict_proba(X), model.predict_proba(X), rtol=0.05, atol=0.01)
    assert hub.calls[-1] == ("user/name", "model.safetensors", "v1")
    with pytest.raises(
        FileNotFoundError, match=r"^'user/other' is neither a folder nor a model .* hub: 404 not found$"
    ):
        ff.FFSequential.from_pretrained("user/other")
    with pytest.raises(ValueError, match=r"^name must be 'user/name', got 'name'$"):
        model.push_to_hub("name")


def test_the_hub_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"pip install huggingface_hub$"):
        ff.FFSequential.from_pretrained("user/name")


def test_a_network_of_the_library_is_loaded_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ff.zoo, "FOLDER", tmp_path)
    with pytest.raises(ValueError, match=r"^name must be one of no names, in this build, got 'tiny'$"):
        ff.pretrained("tiny")
    model = network()
    model.setup((8,))
    model.save_pretrained(tmp_path / "tiny", dtype=torch.float16)
    assert ff.zoo.available() == ["tiny"]
    assert ff.pretrained("tiny").predict(X).shape == (20,)
    with pytest.raises(ValueError, match=r"^name must be one of tiny, got 'cifar'$"):
        ff.pretrained("cifar")


def test_the_networks_of_the_library_are_small_and_state_their_errors() -> None:
    for name in ff.zoo.available():
        model = ff.pretrained(name)
        assert sum(p.numel() for p in model.parameters()) <= 500_000
        assert (ff.zoo.FOLDER / name / "model.safetensors").stat().st_size < 1_000_000
        assert model.card["command"]
        assert model.card["test error, %"] > 0
        assert model.input_shape is not None
        images = torch.rand(2, *model.input_shape)
        assert model.predict_proba(images).shape == (2, 10)


@pytest.mark.slow
def test_the_command_writes_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn")
    from benchmarks import pretrained

    results = tmp_path / "results.json"
    small = ["--widths", "4,4", "--epochs", "1", "--quiet", "--device", "cpu", "--results", str(results)]
    monkeypatch.setattr(pretrained, "PACKAGE", tmp_path / "package")
    monkeypatch.setattr(ff.zoo, "FOLDER", tmp_path / "package")
    monkeypatch.setitem(pretrained.NETWORKS, "digits-small", pretrained.Network("digits", "mono-conv"))
    pretrained.main(["digits-small", *small])
    model = ff.pretrained("digits-small")
    entry = json.loads(results.read_text())["digits-small"]
    assert entry["test_errors"]["float16"] == pytest.approx(model.card["test error, %"])
    assert ff.evaluate(model, ff.data.load("digits").test).error == pytest.approx(
        entry["test_errors"]["float16"], abs=1e-3
    )
    assert entry["command"] == model.card["command"] == entry["written_by"]
    assert model.card["name"] == "digits-small"
    pretrained.main(["digits", "--out", str(tmp_path / "other"), *small])
    assert ff.load(tmp_path / "other").card["name"] == "digits"
    monkeypatch.setattr(pretrained, "MOST_PARAMETERS", 10)
    with pytest.raises(SystemExit):
        pretrained.main(["digits-small", *small])
