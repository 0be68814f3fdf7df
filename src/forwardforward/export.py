"""Export of trained networks: programs of ``torch.export`` and ONNX or ExecuTorch files, and weights of 8 bits.

A program takes raw inputs, as the network does, and computes the same answers for batches of any size:

    >>> import torch
    >>> import forwardforward as ff
    >>> model = ff.FFSequential(
    ...     ff.FFLinear(8, 6), goodness=ff.goodness.LearnedProjection(3), loss=ff.losses.CrossEntropy()
    ... )
    >>> module = Inference(model, "predict")
    >>> images = torch.rand(5, 8)
    >>> bool((module(images) == model.predict(images)).all())
    True

Programs check nothing: inputs that the network refuses, such as NaN or indices out of range, are computed with.
"""

from __future__ import annotations

import copy
import io
import logging
import re
import textwrap
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize

from forwardforward._utils.annotations import describe
from forwardforward._utils.arguments import StrPath, checked
from forwardforward._utils.extras import import_extra
from forwardforward._utils.files import replacing
from forwardforward._utils.plugins import one_line
from forwardforward.baselines import Baseline
from forwardforward.classifiers import WithHead
from forwardforward.layers.chain import layer_outputs
from forwardforward.network import Network
from forwardforward.preprocessing import to_float
from forwardforward.replicas import Replicas
from forwardforward.scoring.functions import ClassGoodness, HeadFeatures, LabelGoodness
from forwardforward.sequential import FFSequential
from forwardforward.specs import example_inputs

__all__ = ["Inference", "quantize", "to_executorch", "to_onnx", "to_program"]

#: What a program computes.
Output = Literal["predict", "predict_proba", "features"]

#: The loggers of the exporters and of the libraries that they use.
EXPORTERS = ("torch.onnx", "onnxscript", "onnx_ir")

#: Codes of a terminal, such as those of colors, which torch writes into messages.
TERMINAL_CODES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")

#: Largest batch of a program, None for any: torch 2.6 needs a number. ExecuTorch computes multiples of it in 32 bits.
LARGEST_BATCH = 2**31 - 1 if torch.__version__.startswith("2.6.") else None

#: Most characters of an exporter's reason; the advice that follows fills pages.
LONGEST_REASON = 300


@checked
class Inference(nn.Module):
    """The answers of a network as the ``forward`` of a module that torch can export.

    Args:
        model: A network whose input shape is known; the module has a copy of it, in evaluation mode.
        output: ``"predict"`` for the answers of the model's ``predict``, such as class indices ``(batch,)``;
            ``"predict_proba"`` for probabilities ``(batch, classes)``; ``"features"`` for the last layer's output
            ``(batch, ...)``, under the neutral label if labels are part of the input. Views are averaged as in the
            model, except for features.

    Raises:
        TypeError: If the model is neither an ``FFSequential`` nor a baseline.
        ValueError: If its input shape is not known, its preprocessing is not fitted, it classifies by a head that
            reads features under random labels, or it has no probabilities and they are asked for.

    Example:
        >>> import forwardforward as ff
        >>> model = ff.FFSequential(
        ...     ff.FFLinear(8, 6), goodness=ff.goodness.LearnedProjection(3), loss=ff.losses.CrossEntropy()
        ... )
        >>> Inference(model, "features")(torch.rand(5, 8)).shape
        torch.Size([5, 6])
    """

    def __init__(self, model: nn.Module, output: Output = "predict_proba") -> None:
        super().__init__()
        model = _checked(model)
        if not model.is_set_up:
            raise ValueError("the input's shape must be known to export a model: call model.setup(shape), or fit it")
        if model.needs_fit:
            raise ValueError(
                "preprocessing and the first layer must be fitted before the export, as fit does, got no statistics"
            )
        if output == "predict_proba":
            model.target_kind.probabilities(torch.zeros(1, 1))  # refuses real values without bins
        uses_head = output != "features" and (model.classifier == "head" or isinstance(model.classifier, WithHead))
        head = model.head if uses_head else None
        if head is not None and head.label == "random":
            raise ValueError("head must read features under the neutral label to be exported, got label='random'")
        self.model: Network = copy.deepcopy(model).eval().requires_grad_(False)
        self.output = output
        self.dtype = model.dtype  # torch 2.6 cannot trace how a network finds it

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the answers.

        Args:
            inputs: Raw inputs, ``(batch, ...)``.
        """
        if self.output == "features":
            return self._features(inputs)
        scores = self._scores(inputs)
        if self.output == "predict":
            return self.model.predictions(scores)
        return self.model.target_kind.probabilities(scores)

    def _prepared(self, inputs: Tensor) -> Tensor:
        model = self.model
        return inputs if model.num_embeddings is not None else model.preprocessing(to_float(inputs).to(self.dtype))

    def _features(self, inputs: Tensor) -> Tensor:
        model, x = self.model, self._prepared(inputs)
        encoder = model.label_encoder if isinstance(model, FFSequential) else None
        outputs = list(layer_outputs(model.stack, x if encoder is None else encoder.neutral(x)))
        return outputs[-1]

    def _scores(self, inputs: Tensor) -> Tensor:
        model = self.model
        if isinstance(model, Baseline) or isinstance(model.classifier, str):  # torch 2.6 cannot trace ==
            return self._mean_over_views(self._logits, inputs)
        assert callable(model.classifier)
        goodness = self._mean_over_views(self._goodness, inputs)
        logits = (self._mean_over_views(self._logits, inputs),) if isinstance(model.classifier, WithHead) else ()
        return model.classifier(goodness, *logits)

    def _mean_over_views(self, function: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
        """Return the mean of a function of raw inputs over their views."""
        # not by mean_over_views, whose checks the tracer cannot follow
        views = self.model.views
        if views is None:
            return function(inputs)
        unchecked = getattr(type(views).__call__, "__wrapped__", None)  # nor can it follow those of this call
        batches = views(inputs) if unchecked is None else unchecked(views, inputs)
        return torch.stack([function(view) for view in batches]).mean(0)

    def _logits(self, inputs: Tensor) -> Tensor:
        """Return the scores of a baseline or of the one-pass head."""
        model, x = self.model, self._prepared(inputs)
        if isinstance(model, Baseline):
            return model.loss.scores(model.logits(x))
        assert isinstance(model, FFSequential)
        assert model.head is not None
        logits: Tensor = model.head(HeadFeatures(tuple(model.stack), model.head, model.label_encoder)(x))
        return logits

    def _goodness(self, inputs: Tensor) -> Tensor:
        """Return the goodness of each layer, ``(batch, layers, classes)``."""
        model, x = self.model, self._prepared(inputs)
        assert isinstance(model, FFSequential)
        layers, encoder = tuple(model.stack), model.label_encoder
        if encoder is None:
            return ClassGoodness(layers)(x)
        return LabelGoodness(layers, encoder, encoder.num_classes)(x)


@checked
def to_program(model: nn.Module, output: Output = "predict_proba", inputs: Tensor | None = None) -> Any:
    """Return a ``torch.export.ExportedProgram`` of a network, for batches of any size.

    ``torch.export.save(program, "model.pt2")`` writes it; ``program.module()(inputs)`` computes. The program does not
    contain the lines of source code by which torch explains operations: in the file of a small network they are larger
    than the weights, and name the folders of this machine.

    Args:
        model: The network, see :class:`Inference`.
        output: What it computes.
        inputs: Two raw inputs or more, whose shape and type the program's inputs have; default: zeros of float32, of
            the shape that the network was set up with, or indices for a network that looks them up.

    Raises:
        ValueError: If torch cannot trace the network, such as a block that depends on values, or a classifier that
            chooses its layers with torch 2.6.
    """
    module = Inference(model, output)
    # a copy, since a file of the program contains the example with all of its storage
    example = _example(module.model) if inputs is None else inputs.detach().clone()
    if example.dim() == 0 or len(example) < 2:
        raise ValueError(
            f"inputs must be at least two, so that the batch may have any size, got shape {tuple(example.shape)}"
        )
    batch = torch.export.Dim("batch", min=1, max=LARGEST_BATCH)
    _check_example(module, example)
    try:
        with _exporting():
            program = torch.export.export(module, (example,), dynamic_shapes=({0: batch},), strict=True)
            _simplify(program.graph_module)
    except Exception as error:  # the tracer raises errors of many types
        raise ValueError(f"model cannot be exported: {_reason(error)}") from error
    return program


def _simplify(program: fx.GraphModule) -> None:
    """Remove source code, and operations whose result nothing reads."""
    for module in program.modules():  # parts, such as those under autocast, are graphs of their own
        if isinstance(module, fx.GraphModule):
            # weights that were only asked for their shape, which quantized ones are multiplied out for
            module.graph.eliminate_dead_code()
            for node in module.graph.nodes:
                node.meta.pop("stack_trace", None)
            module.recompile()


def _check_example(module: nn.Module, example: Tensor) -> None:
    """Refuse inputs that the network refuses, since the tracer's error would not tell why."""
    try:
        with torch.no_grad():
            module(example)
    except (IndexError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f"inputs must be a batch of the network's, got {describe(example)}: {one_line(error)}"
        ) from error


@checked
def to_onnx(model: nn.Module, path: StrPath, output: Output = "predict_proba", inputs: Tensor | None = None) -> None:
    """Write a network as an ONNX file, for batches of any size; its input is ``inputs`` and its output ``outputs``.

    Args:
        model: The network, see :class:`Inference`.
        path: The file.
        output: What it computes.
        inputs: As for :func:`to_program`.

    Raises:
        ImportError: If onnx or onnxscript is not installed.
        ValueError: If the network cannot be exported; with torch 2.6, most cannot.
    """
    import_extra("onnxscript", "ONNX", "onnx", "onnxscript")
    program = to_program(model, output, inputs)
    options: dict[str, Any] = {"input_names": ["inputs"], "output_names": ["outputs"], "dynamo": True, "verbose": False}
    try:
        with _exporting():
            onnx_program = torch.onnx.export(program, **options)
            assert onnx_program is not None
            content = onnx_program.model_proto.SerializeToString()
    except Exception as error:
        raise ValueError(f"model cannot be written as ONNX: {_reason(error)}") from error
    with replacing(Path(path), "wb") as file:
        file.write(content)


@checked
def to_executorch(
    model: nn.Module, path: StrPath, output: Output = "predict_proba", inputs: Tensor | None = None
) -> None:
    """Write a network as an ExecuTorch file, for phones and microcontrollers, with XNNPACK's kernels where they serve.

    Args:
        model: The network, see :class:`Inference`.
        path: The file, usually ``.pte``.
        output: What it computes.
        inputs: As for :func:`to_program`; their number is the largest batch of the file.

    Raises:
        ImportError: If executorch is not installed, or cannot be imported.
        ValueError: If the network cannot be exported.
    """
    of_edge = import_extra("executorch.exir", "ExecuTorch", "executorch")
    of_xnnpack = import_extra("executorch.backends.xnnpack.partition.xnnpack_partitioner", "ExecuTorch", "executorch")
    program = to_program(model, output, inputs)
    try:
        with _exporting():
            partitioner = of_xnnpack.XnnpackPartitioner()
            lowered = of_edge.to_edge_transform_and_lower(program, partitioner=[partitioner]).to_executorch()
    except Exception as error:
        raise ValueError(f"model cannot be written for ExecuTorch: {_reason(error)}") from error
    content = io.BytesIO()
    lowered.write_to_file(content)
    with replacing(Path(path), "wb") as file:
        file.write(content.getvalue())


@checked
def quantize(model: nn.Module) -> Network:
    r"""Return a copy of a network whose matrices and kernels are stored with 8 bits per number.

    Each row of a matrix, and each kernel of a convolution, has a scale,
    :math:`q = \operatorname{round}(127 \, w / \max |w|)`, and is multiplied by it before each product; activations,
    biases and statistics keep their precision. The weights take a quarter of the memory. The copy is for prediction and
    export: ``fit`` and ``save_pretrained`` refuse it; save the network from before, and quantize it when it is loaded.

    The weights are those of :func:`torch.fake_quantize_per_channel_affine`, and the mechanism is
    :mod:`torch.nn.utils.parametrize`: torch's own quantized tensors are deprecated, and its successor torchao stores
    the weights of dense layers alone in 8 bits.

    Args:
        model: The network.

    Raises:
        TypeError: If it is no network.

    Example:
        >>> import forwardforward as ff
        >>> model = ff.FFSequential(
        ...     ff.FFLinear(8, 6), goodness=ff.goodness.LearnedProjection(3), loss=ff.losses.CrossEntropy()
        ... )
        >>> small = quantize(model)
        >>> small[0].block.parametrizations.weight.original0.dtype
        torch.int8
    """
    model = _checked(model)
    copied: Network = copy.deepcopy(model).eval().requires_grad_(False)
    for module in list(copied.modules()):
        for name, parameter in list(module.named_parameters(recurse=False)):
            if parameter.dim() > 1 and parameter.is_floating_point():
                parametrize.register_parametrization(module, name, _Dequantize(parameter.dtype), unsafe=True)
    return copied


def _checked(model: nn.Module) -> FFSequential | Baseline:
    if isinstance(model, Replicas):
        raise TypeError("replicas are exported one by one: model must be a member, such as replicas.member(0)")
    if not isinstance(model, FFSequential | Baseline):
        raise TypeError(f"model must be an FFSequential or a baseline, got {type(model).__name__}")
    return model


class _Dequantize(nn.Module):
    """From whole numbers of 8 bits and a scale per row to weights."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, numbers: Tensor, scales: Tensor) -> Tensor:
        return numbers.to(self.dtype) * scales

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        weight = weight.detach()
        largest = weight.abs().flatten(1).amax(1).clamp(min=torch.finfo(weight.dtype).tiny)
        scales = (largest / 127).view(-1, *[1] * (weight.dim() - 1))
        return (weight / scales).round().clamp(-127, 127).to(torch.int8), scales


def _example(model: Network) -> Tensor:
    shape = model.input_shape or model.stack[0].input_shape
    assert shape is not None
    return example_inputs(2, shape, model.num_embeddings, torch.float32, model.device)


@contextmanager
def _exporting() -> Iterator[None]:
    """Context manager without gradients, and without the fast path of attention, which ONNX has no operation for."""
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), _quiet():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)


def _reason(error: BaseException) -> str:
    """Return the cause of an exporter's error on one line: the first error, since the others add advice to it."""
    while error.__cause__ is not None:
        error = error.__cause__
    reason = TERMINAL_CODES.sub("", f"{type(error).__name__}: {one_line(error)}")
    return textwrap.shorten(reason, LONGEST_REASON, placeholder=" ...")


@contextmanager
def _quiet() -> Iterator[None]:
    """Context manager without the warnings of the exporters, which concern their own code."""
    levels = {logger: logger.level for logger in map(logging.getLogger, EXPORTERS)}
    for logger in levels:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)
