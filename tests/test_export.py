"""Tests of exported networks: the same answers for batches of any size."""

from __future__ import annotations

import copy
import logging
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import forwardforward as ff
from forwardforward import export

OUTPUTS = ("predict", "predict_proba", "features")
BATCHES = (1, 7, 64)
IMAGES = torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def skip_without_onnx() -> None:
    if torch.__version__.startswith("2.6."):
        pytest.skip("torch 2.6 writes few networks as ONNX")
    pytest.importorskip("onnxscript")


@cache
def network(kind: str) -> Any:
    """A network with weights that are not its first ones; to be read only."""
    torch.manual_seed(0)
    name, widths = {"pair": ("hinton", (12, 12)), "class": ("mono", (12, 12)), "conv": ("mono-conv", (6, 6))}.get(
        kind, (kind, (8, 8))
    )
    recipe = ff.recipes.get(name).for_dataset("digits").replace(widths=widths, epochs=1)
    model = recipe.model((1, 8, 8), 10)
    recipe.fit(model, (IMAGES, torch.arange(64) % 10), progress=False)
    return model.eval()


def candidates() -> ff.FFSequential:
    torch.manual_seed(0)
    return ff.FFSequential(
        ff.FFConv2d(2, 6, 3),
        ff.FFConv2d(6, 6, 3),
        goodness=ff.goodness.SumOfSquares(),
        loss=ff.losses.SymBa(),
        normalization=ff.normalization.RMSNorm(),
        label_encoder=ff.label_encoders.LearnedChannel(10, 8),
        classifier=ff.classifiers.Candidates(3, after=1),
        input_shape=(1, 8, 8),
    )


def answers(model: Any, output: str, images: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        result = {"predict": model.predict, "predict_proba": model.predict_proba, "features": model}[output](images)
    assert isinstance(result, torch.Tensor)
    return result


def assert_close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    assert actual.shape == expected.shape
    assert float((actual.double() - expected.double()).abs().max()) <= 1e-5


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("kind", ["pair", "class", "conv", "pepita", "scff"])
def test_the_module_returns_the_networks_answers(kind: str, output: Any) -> None:
    model = network(kind)
    module = export.Inference(model, output)
    expected = answers(model, output, IMAGES)
    if kind == "pepita" and output == "features":
        expected = model.activations(IMAGES)[1].detach()
    assert_close(module(IMAGES), expected)


def shifted(images: torch.Tensor) -> list[torch.Tensor]:
    """Views of a user: the images, and the images moved by a pixel."""
    return [images, images.roll(1, 3)]


def other_kind(kind: str) -> Any:
    """A trained network whose answers are not the classes of one image's goodness."""
    torch.manual_seed(0)
    losses: dict[str, Any] = {
        "several labels": ff.losses.BinaryCrossEntropy(theta=0.5, temperature=2.0),
        "bins": ff.losses.OrdinalCrossEntropy(),
        "one value": ff.losses.SquaredError(),
        "two values": ff.losses.SquaredError(),
    }
    outputs = {"one value": 1, "two values": 2}.get(kind, 10)
    targets: dict[str, Any] = {
        "several labels": torch.rand(64, 10) > 0.5,
        "bins": 10 * torch.rand(64) + 5,
        "one value": 10 * torch.rand(64) + 5,
        "two values": torch.rand(64, 2),
    }
    head = ff.heads.LinearHead(10) if "head" in kind else None
    classifier: Any = {"head under views": "head", "with head under views": ff.classifiers.WithHead()}.get(kind)
    model = ff.FFSequential(
        ff.FFLinear(64, 12),
        ff.FFLinear(12, 12),
        goodness=ff.goodness.LearnedProjection(outputs),
        loss=losses.get(kind, ff.losses.CrossEntropy()),
        head=head,
        classifier=classifier,
        views=shifted if "views" in kind else None,
        input_shape=(1, 8, 8),
    )
    ff.fit(model, (IMAGES, targets.get(kind, torch.arange(64) % 10)), epochs=2, progress=False)
    return model.eval()


@pytest.mark.parametrize("output", ["predict", "predict_proba"])
@pytest.mark.parametrize(
    "kind",
    ["views", "head under views", "with head under views", "several labels", "bins", "one value", "two values"],
)
def test_views_heads_and_targets_of_every_kind_have_the_networks_answers(kind: str, output: Any) -> None:
    model = other_kind(kind)
    if output == "predict_proba" and "value" in kind:
        with pytest.raises(ValueError, match="^predict_proba needs bins"):
            export.Inference(model, output)
        return
    expected = answers(model, output, IMAGES)
    module = export.Inference(model, output)
    assert module(IMAGES).dtype == expected.dtype
    assert_close(module(IMAGES), expected)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["views", "with head under views", "several labels", "bins", "one value"])
def test_views_heads_and_targets_of_every_kind_are_exported(kind: str) -> None:
    if kind == "with head under views" and torch.__version__.startswith("2.6."):
        pytest.skip("torch 2.6 cannot trace a choice of layers")
    model = other_kind(kind)
    program = export.to_program(model, "predict").module()
    for size in BATCHES:
        assert_close(program(IMAGES[:size]), answers(model, "predict", IMAGES[:size]))


def test_mirrored_images_are_exported() -> None:
    model = ff.recipes.get("whitened").replace(widths=(6, 8), views=ff.views.Mirror(shift=1)).model((1, 8, 8), 10)
    model.preprocessing.fit(IMAGES)
    program = export.to_program(model.eval()).module()
    for size in BATCHES:
        assert_close(program(IMAGES[:size]), answers(model, "predict_proba", IMAGES[:size]))


def test_the_scores_of_a_baselines_loss_are_exported() -> None:
    torch.manual_seed(0)
    loss = ff.losses.BinaryCrossEntropy(theta=0.5, temperature=2.0)
    layers = [ff.FFLinear(64, 12), ff.FFLinear(12, 12)]
    model = ff.baselines.Backpropagation(*layers, num_classes=10, loss=loss, input_shape=(1, 8, 8))
    for output in ("predict", "predict_proba"):
        assert_close(export.Inference(model.eval(), output)(IMAGES), answers(model, output, IMAGES))


def test_candidates_have_the_same_answers() -> None:
    model = candidates()
    assert_close(export.Inference(model, "predict_proba")(IMAGES), answers(model, "predict_proba", IMAGES))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The given buffer is not writable")  # of torch 2.11
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("kind", ["pair", "class", "conv"])
def test_a_program_computes_batches_of_any_size(kind: str, output: Any, tmp_path: Path) -> None:
    torch.export.save(export.to_program(network(kind), output), tmp_path / "model.pt2")
    module = torch.export.load(tmp_path / "model.pt2").module()
    for batch in BATCHES:
        assert_close(module(IMAGES[:batch]), answers(network(kind), output, IMAGES[:batch]))


@pytest.mark.slow
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("kind", ["pair", "class", "conv", "int8"])
def test_onnxruntime_has_the_same_answers(kind: str, output: Any, tmp_path: Path) -> None:
    skip_without_onnx()
    onnxruntime = pytest.importorskip("onnxruntime")
    model = export.quantize(network("conv")) if kind == "int8" else network(kind)
    export.to_onnx(model, tmp_path / "model.onnx", output)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    for batch in BATCHES:
        (result,) = session.run(["outputs"], {"inputs": IMAGES[:batch].numpy()})
        assert_close(torch.from_numpy(np.asarray(result)), answers(model, output, IMAGES[:batch]))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pair", "bag"])
def test_the_exporters_notes_on_their_own_code_are_not_shown(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    skip_without_onnx()
    model = network(kind) if kind == "pair" else ff.recipes.get("imdb-bag").model((9,), 2)
    export.to_onnx(model, tmp_path / "model.onnx")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pair", "class", "conv"])
def test_executorch_has_the_same_answers(kind: str, tmp_path: Path) -> None:
    runtime = pytest.importorskip("executorch.runtime")
    model = network(kind)
    export.to_executorch(model, tmp_path / "model.pte", inputs=IMAGES)
    method = runtime.Runtime.get().load_program(tmp_path / "model.pte").load_method("forward")
    for batch in BATCHES:
        (result,) = method.execute([IMAGES[:batch].clone()])
        assert_close(result, answers(model, "predict_proba", IMAGES[:batch]))


class Words(nn.Module):
    """torch's transformer encoder over embedded words."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        self.encoder = nn.TransformerEncoder(encoder_layer(), 2, enable_nested_tensor=False)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        encoded: torch.Tensor = self.encoder(self.embedding(words))
        return encoded


def encoder_layer() -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)


def transformer(kind: str) -> tuple[ff.FFSequential, torch.Tensor]:
    """A network with torch's encoder layers, and inputs of it."""
    torch.manual_seed(0)
    if kind == "from_module":
        return ff.from_module(Words(), 3, input_shape=(5,)).eval(), torch.randint(20, (64, 5))
    goodness = ff.goodness.LearnedProjection(3, pool=ff.pooling.SequencePool())
    layers = [ff.FFLayer(encoder_layer()) for _ in range(2)]
    model = ff.FFSequential(*layers, goodness=goodness, loss=ff.losses.CrossEntropy(), input_shape=(5, 8))
    return model.eval(), torch.rand(64, 5, 8)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The given buffer is not writable")  # of torch 2.11
@pytest.mark.parametrize("kind", ["from_module", "blocks"])
def test_torchs_transformer_layers_are_exported(kind: str, tmp_path: Path) -> None:
    model, inputs = transformer(kind)
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.export.save(export.to_program(model), tmp_path / "model.pt2")
    program = torch.export.load(tmp_path / "model.pt2").module()
    for batch in BATCHES:
        assert_close(program(inputs[:batch]), answers(model, "predict_proba", inputs[:batch]))
    assert torch.backends.mha.get_fastpath_enabled() == fast
    skip_without_onnx()
    onnxruntime = pytest.importorskip("onnxruntime")
    export.to_onnx(model, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    for batch in BATCHES:
        (result,) = session.run(["outputs"], {"inputs": inputs[:batch].numpy()})
        assert_close(torch.from_numpy(np.asarray(result)), answers(model, "predict_proba", inputs[:batch]))
    assert torch.backends.mha.get_fastpath_enabled() == fast


class Bessel(nn.Linear):
    """A block with an operation that ONNX does not have."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return torch.special.bessel_j0(super().forward(input))


@pytest.mark.slow
def test_a_failed_export_names_the_last_cause_without_the_codes_of_a_terminal(tmp_path: Path) -> None:
    skip_without_onnx()
    options: dict[str, Any] = {"goodness": ff.goodness.LearnedProjection(3), "loss": ff.losses.CrossEntropy()}
    model = ff.FFSequential(Bessel(8, 8), input_shape=(8,), **options)
    with pytest.raises(ValueError, match=r"^model cannot be written as ONNX: .*bessel_j0") as error:
        export.to_onnx(model, tmp_path / "model.onnx")
    assert str(error.value).isprintable()  # one line, without escape codes
    assert len(str(error.value)) < 350
    assert not (tmp_path / "model.onnx").exists()


def test_a_reason_is_the_first_cause_on_one_line() -> None:
    first, last = RuntimeError("\x1b[96mno such\x1b[0m\n operation"), ValueError("steps: " + "go on, " * 100)
    long = export._reason(last)
    assert long.startswith("ValueError: steps: go on, go on,")
    assert long.endswith(" ...")
    assert len(long) <= export.LONGEST_REASON
    last.__cause__ = first
    assert export._reason(last) == "RuntimeError: no such operation"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["conv", "int8"])
def test_a_program_contains_neither_source_code_nor_operations_without_use(kind: str, tmp_path: Path) -> None:
    model = export.quantize(network("conv")) if kind == "int8" else network("conv")
    program = export.to_program(model)
    torch.export.save(program, tmp_path / "model.pt2")
    assert b'.py\\"' not in (tmp_path / "model.pt2").read_bytes()  # paths and lines of this machine's files
    if kind == "int8":  # each weight is multiplied out once
        scales = [node for node in program.graph.nodes if node.op == "placeholder" and "original1" in node.name]
        assert len(scales) == 4
        assert [len(node.users) for node in scales] == [1] * len(scales)


@pytest.mark.slow
def test_bytes_and_indices_are_exported_with_their_type(tmp_path: Path) -> None:
    model, pixels = network("class"), (255 * IMAGES).to(torch.uint8)
    program = export.to_program(model, inputs=pixels[:2])
    assert_close(program.module()(pixels), answers(model, "predict_proba", pixels))
    words = ff.recipes.get("imdb-bag").model((9,), 2)
    indices = torch.randint(words.num_embeddings or 2, (7, 9))
    assert_close(export.to_program(words).module()(indices), words.predict_proba(indices))


@pytest.mark.parametrize("kind", ["pair", "class", "conv", "feedback-alignment"])
def test_quantized_weights_have_255_steps_per_row(kind: str) -> None:
    model = network(kind)
    small = export.quantize(model)
    kernel, module = model.layers[1].block.weight, small.layers[1].block
    numbers, scales = module.parametrizations.weight.original0, module.parametrizations.weight.original1
    assert numbers.dtype == torch.int8
    assert numbers.shape == kernel.shape
    for row, (weights, quantized) in enumerate(zip(kernel.detach(), module.weight, strict=True)):
        step = float(weights.abs().max()) / 127
        assert float(scales[row]) == pytest.approx(step)
        assert float((quantized - weights).abs().max()) <= step / 2 + 1e-7
    zeros = torch.zeros(len(kernel), dtype=torch.int32)
    reference = torch.fake_quantize_per_channel_affine(kernel.detach(), scales.flatten(), zeros, 0, -127, 127)
    torch.testing.assert_close(module.weight, reference)
    difference = (small.predict_proba(IMAGES) - model.predict_proba(IMAGES)).abs().max()
    assert 0 < float(difference) < 0.2
    assert model.layers[1].block.weight is kernel  # the original is not changed


def test_a_quantized_copy_is_neither_trained_nor_saved(tmp_path: Path) -> None:
    small = export.quantize(network("class"))
    with pytest.raises(ValueError, match=r"^model must have parameters .* those of ff\.export\.quantize, train"):
        ff.fit(small, (IMAGES, torch.arange(len(IMAGES)) % 10), progress=False)
    with pytest.raises(ValueError, match=r"parametrized .* ff\.export\.quantize, save the network from before"):
        small.save_pretrained(tmp_path / "model")


def test_members_of_replicas_are_exported_one_by_one() -> None:
    replicas = ff.replicate(lambda: copy.deepcopy(network("class")), seeds=(0, 1))
    for function in (export.quantize, export.Inference, export.to_program):
        with pytest.raises(TypeError, match=r"model must be a member, such as replicas\.member\(0\)$"):
            function(replicas)
    export.Inference(replicas.member(1))


def test_what_cannot_be_exported_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TypeError, match=r"^model must be an FFSequential or a baseline, got Linear$"):
        export.Inference(nn.Linear(2, 2))
    lazy = ff.FFSequential(nn.LazyLinear(6), goodness=ff.goodness.LearnedProjection(3), loss=ff.losses.CrossEntropy())
    with pytest.raises(ValueError, match="^the input's shape must be known to export a model"):
        export.Inference(lazy)
    unfitted = ff.recipes.get("mono-conv").replace(widths=(6,)).model((1, 8, 8), 10)
    with pytest.raises(ValueError, match="^preprocessing and the first layer must be fitted before the export"):
        export.to_program(unfitted)
    head = ff.FFSequential(
        ff.FFLinear(64, 6),
        goodness=ff.goodness.SumOfSquares(),
        loss=ff.losses.SymBa(),
        label_encoder=ff.label_encoders.Overlay(10),
        head=ff.heads.LinearHead(10, label="random"),
        classifier="head",
    )
    with pytest.raises(ValueError, match="^head must read features under the neutral label"):
        export.Inference(head)
    with pytest.raises(ValueError, match="^inputs must be at least two"):
        export.to_program(network("class"), inputs=IMAGES[:1])
    with pytest.raises(ValueError, match=r"^inputs must be at least two, .* got shape \(\)$"):
        export.to_program(network("class"), inputs=torch.rand(()))
    for wrong in (torch.zeros(3, 64, dtype=torch.int64), torch.rand(3, 5), torch.rand(64)):
        with pytest.raises(ValueError, match=r"^inputs must be a batch of the network's, got a tensor of .*: [^\n]*$"):
            export.to_program(network("class"), inputs=wrong)
    with pytest.raises(ValueError, match=r"^output must be 'predict'"):
        export.to_program(network("class"), "classes")  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ImportError, match=r"pip install onnx onnxscript$"):
        export.to_onnx(network("class"), tmp_path / "model.onnx")
    monkeypatch.setitem(sys.modules, "executorch", None)
    with pytest.raises(ImportError, match=r"pip install executorch$"):
        export.to_executorch(network("class"), tmp_path / "model.pte")


def test_an_executorch_that_cannot_be_imported_names_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "executorch").mkdir()
    (tmp_path / "executorch" / "__init__.py").write_text("import a_package_that_is_missing", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "executorch"]:
        monkeypatch.delitem(sys.modules, name)
    message = r"^ExecuTorch needs executorch, which cannot be imported: No module named 'a_package_that_is_missing'$"
    with pytest.raises(ImportError, match=message):
        export.to_executorch(network("class"), tmp_path / "model.pte")
