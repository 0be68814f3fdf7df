"""The computations of one member as pure functions of its state, and their batched and compiled forms."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from forwardforward._utils.compilation import compile_function, compiler_reason
from forwardforward._utils.cuda_graphs import CapturedFunction, RecordingError
from forwardforward._utils.modes import autocast_to
from forwardforward._utils.snapshots import Snapshot
from forwardforward.batches import Batch, LabeledInput
from forwardforward.classifiers import SumOverLayers
from forwardforward.layers.chain import run_layers
from forwardforward.objectives import LocalLoss
from forwardforward.sequential import FFSequential
from forwardforward.step import Stack, StepResult
from forwardforward.step.function import WholeFunction
from forwardforward.step.whole import MOST_PLANS, torch_state
from forwardforward.update_schedules import Group

__all__ = [
    "Batched",
    "Call",
    "MemberGradients",
    "MemberScores",
    "figures_of",
    "goodness",
    "gradient_norms",
    "local_figures",
    "logits",
    "step_result",
]

#: A member's tensors by their names in the network.
State = Mapping[str, Tensor]


class Call(nn.Module):
    """A network's methods, computed with other tensors than the network's own.

    Args:
        network: The network, or a part of it.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return ``function(network, *arguments)``; ``functional_call`` calls a module's ``forward``."""
        return function(self.network, *arguments)

    def with_state(self, state: State, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return ``function(network, *arguments)`` with other tensors.

        Args:
            state: The tensors, by their names in the network.
            function: The function.
            *arguments: Its arguments after the network.
        """
        named = {f"network.{name}": value for name, value in state.items()}
        return torch.func.functional_call(self, named, (function, *arguments))


def part_of(state: State, name: str) -> dict[str, Tensor]:
    """Return the tensors of one part of a network, such as ``"layers.0"``, by their names in it."""
    return {key[len(name) + 1 :]: value for key, value in state.items() if key.startswith(f"{name}.")}


class MemberGradients:
    """The gradients, new buffers and figures of one member's step: the whole step's function, and the head's.

    Args:
        template: The network whose modules are used.
        groups: The groups to update.
        has_negatives: Whether the batch has negatives.
        autocast: Compute precision; None for that of the weights.
    """

    def __init__(
        self, template: FFSequential, groups: Sequence[Group], has_negatives: bool, autocast: torch.dtype | None
    ) -> None:
        self.template = template
        self.autocast = autocast
        encoder, head = template.label_encoder, template.head
        self.learned_codes = encoder is not None and any(p.requires_grad for p in encoder.parameters())
        depth = len(template)
        observed = frozenset(head.indices(depth)) if head is not None and encoder is None else frozenset()
        stack = Stack(template.stack, [(str(i),) for i in range(depth)], observed)
        # a compiled function cannot create modules
        self._encoder = None if encoder is None else Call(encoder)
        self._classifier = None if head is None else Call(head)
        self.step_function = WholeFunction(stack, groups, has_negatives, autocast, self.learned_codes)

    @property
    def key(self) -> Any:
        """What the function depends on beside its arguments."""
        return tuple(self.step_function.groups), self.step_function.has_negatives, self.autocast

    def __call__(self, state: State, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Return gradients and new buffers by name, and figures by layer.

        Args:
            state: The member's tensors.
            batch: ``images`` and ``wrong`` labels, or the ``inputs`` that a sampler made; ``labels`` and ``features``
                of the head, if there are any.
        """
        pull_codes: Callable[..., Any] | None = None
        inputs: Tensor | LabeledInput
        if "inputs" in batch:
            inputs = batch["inputs"]
        else:
            inputs, pull_codes = self._joined(state, batch)
        parameters: list[dict[str, Tensor]] = []
        constants: list[dict[str, Tensor]] = []
        buffers: list[dict[str, Tensor]] = []
        for index, layer in enumerate(self.template.stack):
            tensors = part_of(state, f"layers.{index}")
            trained = {
                name
                for name, p in layer.named_parameters()
                if p.requires_grad and self.step_function.trains(index, name)
            }
            names = dict(layer.named_parameters())
            parameters.append({name: tensors[name] for name in names if name in trained})
            constants.append({name: tensors[name] for name in names if name not in trained})
            buffers.append({name: tensors[name] for name, _ in layer.named_buffers()})
        step = self.step_function(parameters, constants, buffers, inputs, batch.get("labels"))
        gradients = {f"layers.{i}.{k}": v for i, values in step.parameters.items() for k, v in values.items()}
        if pull_codes is not None and step.codebook is not None:
            gradients |= {f"label_encoder.{k}": v for k, v in pull_codes(step.codebook)[0].items()}
        figures = {str(index): _flat(local) for index, local in step.losses.items()}
        head = self.template.head
        if head is not None and "labels" in batch:
            features = batch.get("features")
            if features is None:
                with autocast_to(self.autocast, batch["labels"].device):
                    count = len(batch["labels"])
                    features = head.read({i: head.rows(output[:count]) for i, output in step.outputs.items()})
            of_head, figures["head"] = self._head(part_of(state, "head"), features, batch["labels"])
            gradients |= {f"head.{k}": v for k, v in of_head.items()}
        new_buffers = {f"layers.{i}.{k}": v for i, values in step.buffers.items() for k, v in values.items()}
        return {"gradients": gradients, "buffers": new_buffers, "figures": figures}

    def _joined(self, state: State, batch: Mapping[str, Any]) -> tuple[LabeledInput, Callable[..., Any] | None]:
        """Return the images with their labels, and the function of the gradients of learned codes."""
        encoder, call = self.template.label_encoder, self._encoder
        assert encoder is not None
        assert call is not None
        tensors = part_of(state, "label_encoder")
        labels = torch.stack([batch["labels"], batch["wrong"]])

        def join(trainable: dict[str, Tensor]) -> tuple[Tensor, LabeledInput]:
            labeled = call.with_state({**tensors, **trainable}, type(encoder).join, batch["images"], labels)
            return labeled.codebook, labeled

        if not self.learned_codes:
            return join({})[1], None
        trainable = {name: tensors[name] for name, p in encoder.named_parameters() if p.requires_grad}
        codebook, pullback, labeled = torch.func.vjp(join, trainable, has_aux=True)  # type: ignore[misc]
        return replace(labeled, codebook=codebook.detach()), pullback

    def _head(self, tensors: State, features: Tensor, labels: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the gradients and figures of the head, see :meth:`~forwardforward.heads.LinearHead.step`."""
        head, call, kind = self.template.head, self._classifier, self.template.target_kind
        assert head is not None
        assert call is not None

        def loss(trainable: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
            result: Tensor = call.with_state({**tensors, **trainable}, type(head).forward, features)
            return kind.loss(result, labels), result.detach()

        trainable = {name: tensors[name] for name, p in head.named_parameters() if p.requires_grad}
        gradients: dict[str, Tensor] = {}
        if trainable:
            gradients, (value, scores) = torch.func.grad_and_value(loss, has_aux=True)(trainable)
        else:
            value, scores = loss({})
        accuracy = kind.figures(scores, scores, labels).accuracy
        return gradients, {"loss": value.detach()} | ({} if accuracy is None else {"accuracy": accuracy})


class MemberScores:
    """The features of one member's head under labels without class information, and the scores for hard negatives.

    Args:
        template: The network whose modules are used.
        kind: The scores that the negatives need: None, ``"head"`` or ``"goodness"``.
        autocast: Compute precision; None for that of the weights.
    """

    def __init__(self, template: FFSequential, kind: str | None, autocast: torch.dtype | None) -> None:
        self.template = template
        self.kind = kind
        self.autocast = autocast
        self._network = Call(template)
        self._classifier = SumOverLayers(template.classifying_layers())  # a compiled function makes no objects

    @property
    def key(self) -> Any:
        """What the function depends on beside its arguments."""
        return "scores", self.kind, self.autocast

    def __call__(self, state: State, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return ``features`` and ``scores``, if they are needed.

        Args:
            state: The member's tensors.
            batch: ``images``, and the ``labels`` of a head that reads features under random labels.
        """
        with autocast_to(self.autocast, batch["images"].device):
            result: dict[str, Tensor] = self._network.with_state(state, self._compute, batch)
        return result

    def _compute(self, network: FFSequential, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        scorer = network.scorer
        values = scorer.scores_for_negatives(batch["images"], batch.get("labels"), self.kind, self._classifier)
        return {name: value for name, value in zip(("features", "scores"), values, strict=True) if value is not None}


def goodness(network: FFSequential, images: Tensor) -> Tensor:
    """Return a network's goodness of prepared images under every label, ``(batch, layers, classes)``."""
    return network.scorer.layer_goodness(images)


def logits(network: FFSequential, images: Tensor, labels: Tensor | None = None) -> Tensor:
    """Return the one-pass head's logits of prepared images, ``(batch, classes)``."""
    assert network.head is not None
    result: Tensor = network.head(network.scorer.head_features(images, labels))
    return result


def local_figures(network: FFSequential, batch: Mapping[str, Any], has_negatives: bool) -> dict[str, dict[str, Tensor]]:
    """Return every layer's local loss of one batch in evaluation mode, by layer."""
    inputs = batch.get("inputs")
    if inputs is None:
        assert network.label_encoder is not None
        inputs = network.label_encoder.join(batch["images"], torch.stack([batch["labels"], batch["wrong"]]))
    samples = Batch(inputs, batch.get("labels"), has_negatives)
    losses = run_layers(network.stack, inputs, lambda layer, x, skip: layer.local_loss(x, samples, skip))
    return {str(index): _flat(local) for index, local in enumerate(losses)}


def _flat(local: LocalLoss) -> dict[str, Any]:
    """Return the figures that exist: torch.vmap accepts tensors only."""
    figures = {name: value for name, value in local.detach()._asdict().items() if value is not None}
    return {**figures, "parts": dict(local.detach().parts)}


def figures_of(values: Mapping[str, Any]) -> LocalLoss:
    """Return the local losses of all members, with tensors ``(members,)``."""
    return LocalLoss(**values)


def gradient_norms(gradients: Mapping[str, Tensor]) -> dict[int, Tensor]:
    """Return the norm of each layer's gradient by layer, ``(members,)``."""
    squares: dict[int, Tensor] = {}
    for name, value in gradients.items():
        part, _, rest = name.partition(".")
        if part == "layers":
            index = int(rest.partition(".")[0])
            square = torch.linalg.vector_norm(value.reshape(len(value), -1), dim=1).square()
            squares[index] = squares[index] + square if index in squares else square
    return {index: square.sqrt() for index, square in squares.items()}


def step_result(figures: Sequence[dict[str, Any]], norms: Sequence[dict[int, Tensor]]) -> StepResult:
    """Return the figures of all members, given those of each part."""
    joined = pytree.tree_map(lambda *values: torch.cat(values), *figures)
    head = joined.pop("head", None)
    layers = {int(index): figures_of(values) for index, values in joined.items()}
    gradient_norms = {i: torch.cat([part[i] for part in norms]) for i in layers if norms}
    return StepResult(layers, None if head is None else figures_of(head), gradient_norms)


class _Recorded(NamedTuple):
    """A recorded function.

    Attributes:
        function: The function.
        snapshot: What the network consisted of.
        unused: Number of recordings before it, without interruption, that were never replayed.
    """

    function: CapturedFunction
    snapshot: Snapshot
    unused: int


class Batched:
    """Functions of one member's state and batch, computed for all members at once; compiled or recorded if possible.

    Attributes:
        on_compile: Called before a function is compiled, which takes seconds.
        recorded: Where to keep the functions that are recorded in a CUDA graph; None to record none.
        cannot_record: Whether a recording has failed.
    """

    def __init__(self) -> None:
        self.on_compile: Callable[[], None] = lambda: None
        self.recorded: dict[Any, Any] | None = None
        self.cannot_record = False
        self._compiled: dict[Any, Callable[..., Any]] = {}
        self._last_shape: dict[Any, Any] = {}
        self._cannot_compile = False

    @property
    def is_recorded(self) -> bool:
        """Whether functions are recorded, so that their results always have the same memory."""
        return self.recorded is not None and not self.cannot_record

    def __call__(
        self,
        function: MemberGradients | MemberScores,
        state: State,
        batch: Mapping[str, Any],
        training: bool,
        compile: bool,
    ) -> Any:
        """Return the results of all members, ``(members, ...)``; the next call may overwrite recorded ones.

        Args:
            function: The function of one member.
            state: Stacked tensors, ``(members, ...)``.
            batch: Stacked tensors of the batch.
            training: Mode of the network.
            compile: Whether to compile. A batch of another shape than the first is not compiled, unless it occurs twice
                in succession; if the compiler fails, one warning is issued and nothing more is compiled. Likewise if
                a recording fails.
        """
        # torch below 2.13 traces the name of a method, not of an object
        batched: Callable[..., Any] = torch.vmap(function.__call__)
        compiles, records = compile and not self._cannot_compile, self.is_recorded
        if not (compiles or records):
            return batched(state, batch)
        key = (function.key, training, tuple(batch), next(iter(batch.values())).shape)
        try:
            form = self._compiled_form(key, batched) if compiles else batched
            return (self._recorded_form(key, form, function.template, state) if records else form)(state, batch)
        except Exception as error:  # compilers fail with exceptions of many types; nothing has been updated
            result = batched(state, batch)  # raises errors of the batch
            if isinstance(error, RecordingError) or not compiles:
                self.cannot_record = True
                failed = "a CUDA graph"
            else:
                self._cannot_compile = True
                failed = "torch.compile"
            warnings.warn(f"training continues without {failed}: {compiler_reason(error)}", stacklevel=4)
            return result

    def _compiled_form(self, key: tuple[Any, ...], batched: Callable[..., Any]) -> Callable[..., Any]:
        """Return the compiled function, or the function itself for a shape that is not worth compiling."""
        *form, shape = key
        repeated = self._last_shape.get(tuple(form)) == shape
        self._last_shape[tuple(form)] = shape
        known = [other for *same, other in self._compiled if same == form]
        if key not in self._compiled and (not known or (repeated and len(known) == 1)):
            self.on_compile()
            self._compiled[key] = compile_function(batched)
        return self._compiled.get(key, batched)

    def _recorded_form(
        self, key: tuple[Any, ...], function: Callable[..., Any], template: nn.Module, state: State
    ) -> Callable[..., Any]:
        """Return the recorded function, a new one if anything of the network has changed."""
        assert self.recorded is not None
        key = (*key, torch_state(next(iter(state.values())).device))
        recorded: _Recorded | None = self.recorded.get(key)
        if recorded is None or not recorded.snapshot.is_current():
            unused = 0 if recorded is None or recorded.function.replays else recorded.unused + 1
            snapshot = Snapshot(template, attributes=True)
            if unused > MOST_PLANS or not snapshot.has_attributes:
                raise RecordingError("something about the layers changes in every step, or cannot be compared")
            recorded = self.recorded[key] = _Recorded(CapturedFunction(function, persistent=(0,)), snapshot, unused)
        return recorded.function
