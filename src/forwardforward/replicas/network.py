"""Networks of one architecture, trained together."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from forwardforward._utils.arguments import PositiveInt, checked
from forwardforward._utils.checks import check_finite
from forwardforward._utils.modes import autocast_to, eval_mode
from forwardforward._utils.numerics import accumulator
from forwardforward.data.batching import Data
from forwardforward.layers.embedding import IndexLayer
from forwardforward.network import Network
from forwardforward.objectives import LocalLoss
from forwardforward.optimizers import LocalOptimizer
from forwardforward.preprocessing import Array
from forwardforward.replicas.blocks import MeanOfVectors
from forwardforward.replicas.functions import (
    Batched,
    Call,
    MemberGradients,
    MemberScores,
    figures_of,
    goodness,
    local_figures,
    logits,
)
from forwardforward.replicas.members import check_members, differing_numbers
from forwardforward.replicas.optimizer import ReplicaOptimizer
from forwardforward.replicas.sampling import stacked_samples, without_dropped
from forwardforward.sequential import FFSequential
from forwardforward.step import StepResult, WholeStep, check_groups
from forwardforward.step.stack import Stack
from forwardforward.update_schedules import Groups, Joint

__all__ = ["Measurement", "Replicas", "replicate"]

Generators = Sequence[torch.Generator | None]

#: Bytes of parameters that are computed together on a CPU; with more, the update waits for the memory.
CACHE = 2**24


class Measurement(NamedTuple):
    """What the evaluation needs of one batch, for all members.

    Attributes:
        goodness: ``(members, batch, layers, classes)``; None if layers cannot classify.
        logits: Of the head, ``(members, batch, classes)``; None if there is none.
        accuracies: Each layer's accuracy by its loss, ``(members,)``, or None if it has none; None without negatives.

    Example:
        >>> Measurement(None, torch.zeros(30, 5, 2), None).logits.shape
        torch.Size([30, 5, 2])
    """

    goodness: Tensor | None
    logits: Tensor | None
    accuracies: list[Tensor | None] | None


@checked
class Replicas(Network):
    """Networks of one architecture, trained together by :func:`~forwardforward.fit` as one batched computation.

    Each member ends up with the weights that a training by itself, ``fit(member, train, seed=seed)``, would give it,
    within rounding. Members may differ in their weights, in fixed tensors such as random projections, and in the
    numbers of their losses, such as thresholds; learning rates may differ with a
    :class:`~forwardforward.replicas.ReplicaOptimizer`.

    The training data must be tensors, which all members share. The progress, and the figures at the top of the
    history's records, are means over the members; ``history.members[i]`` is the history of one. The state dict contains
    those of the members.

    Args:
        members: The networks, which become part of the replicas; :meth:`member` returns one again.
        seeds: The random seed of each member's order of samples, negatives and dropout; default: 0, 1, ...

    Attributes:
        members: The networks; their parameters are views of the stacked ones.
        seeds: The random seeds.

    Raises:
        TypeError: If a member is not an ``FFSequential``.
        ValueError: If there is none, there is not one seed per member, the members differ in architecture or the shape
            of their input is not known, or a block cannot be trained in this way: recurrent blocks, and blocks that
            draw random numbers, such as ``nn.Dropout``.

    Example:
        >>> import forwardforward as ff
        >>> def make_model(theta):
        ...     return ff.FFSequential(
        ...         ff.FFLinear(8, 6),
        ...         goodness=ff.goodness.MeanOfSquares(),
        ...         loss=ff.losses.Threshold(theta=theta),
        ...         label_encoder=ff.label_encoders.Overlay(2),
        ...     )
        >>> replicas = Replicas([make_model(theta) for theta in (0.5, 1.0, 2.0)], seeds=[0, 0, 0])
        >>> history = ff.fit(replicas, (torch.rand(20, 8), torch.arange(20) % 2), epochs=1, progress=False)
        >>> replicas.member(2)[0].objective.loss
        Threshold(theta=2.0)
    """

    _template: FFSequential
    _stacked: dict[str, Tensor]
    _numbers: dict[str, list[float]]
    _batched: Batched

    def __init__(self, members: Sequence[nn.Module], seeds: Sequence[int] | None = None) -> None:
        networks = list(members)
        check_members(networks)  # type: ignore[arg-type]
        first: Any = networks[0]
        super().__init__(first.preprocessing, first.num_classes)
        self.seeds = tuple(range(len(networks))) if seeds is None else tuple(seeds)
        if len(self.seeds) != len(networks):
            raise ValueError(f"seeds must be one per member, {len(networks)}, got {len(self.seeds)}")
        for network in networks:
            network.preprocessing = self.preprocessing
        self._networks = nn.ModuleList(networks)
        self.uses_negatives = first.uses_negatives
        self.target_kind, self.target_scaling = first.target_kind, first.target_scaling
        for network in networks:
            network.target_scaling = self.target_scaling
        self.class_names, self.input_shape = first.class_names, first.input_shape
        self.epochs_trained = first.epochs_trained
        self._optimizer: tuple[LocalOptimizer, ReplicaOptimizer] | None = None
        self._prepare_members()
        self._try()

    # Members

    @property
    def members(self) -> list[FFSequential]:
        """The networks; their parameters are views of the stacked ones."""
        return [network for network in self._networks if isinstance(network, FFSequential)]

    def member(self, index: int) -> FFSequential:
        """Return a copy of one member, a plain network.

        Args:
            index: Its index, from 0 or, if negative, from the end.
        """
        member = copy.deepcopy(self.members[index])
        for buffer in member.buffers():
            buffer.data = buffer.data.clone()  # a copied view would keep the memory of all members
        member.class_names, member.epochs_trained = self.class_names, self.epochs_trained
        member.input_shape = self.input_shape
        return member.train(self.training)

    def append(self, layers: Iterable[nn.Module]) -> Replicas:
        """Append a layer to each member, which may be trained already, and return the replicas.

        Each member is changed as by :meth:`FFSequential.append() <forwardforward.sequential.FFSequential.append>`; an
        optimizer that follows the replicas keeps its state. :class:`~forwardforward.training.GrowNetwork` appends
        layers during a training. The changed members are tried on copies first.

        Args:
            layers: One new layer per member, all of the same architecture; an iterator may seed torch before each.

        Raises:
            ValueError: If there is not one layer per member, a layer does not fit the last layer's output, or the
                members could no longer be trained together; nothing is changed then.

        Example:
            >>> import forwardforward as ff
            >>> def make_model():
            ...     return ff.FFSequential(
            ...         ff.FFLinear(8, 6), goodness=ff.goodness.LearnedProjection(2), loss=ff.losses.CrossEntropy()
            ...     )
            >>> replicas = ff.replicate(make_model, seeds=[0, 1, 2])
            >>> len(replicas.append([ff.FFLinear(6, 5) for _ in range(3)]))
            2
        """
        members = self.members
        # The random state after each layer was made: weights of its plug-ins are drawn when it is appended.
        new = [(layer, torch.get_rng_state()) for layer in layers]
        if len(new) != len(members):
            raise ValueError(f"layers must be one per member, {len(members)}, got {len(new)}")
        copies = [copy.deepcopy(member) for member in members]
        Replicas([network.append(copy.deepcopy(layer)) for network, (layer, _) in zip(copies, new, strict=True)])
        with torch.random.fork_rng():
            for member, (layer, state) in zip(members, new, strict=True):
                torch.set_rng_state(state)
                member.append(layer)
        self._prepare_members()
        return self

    def _prepare_members(self) -> None:
        """Stack the members' tensors, and make the network whose modules the batched functions use."""
        members = self.members
        template = copy.deepcopy(members[0])
        template.preprocessing = nn.Identity()  # type: ignore[assignment]  # inputs are preprocessed before
        first = template[0]
        if isinstance(first, IndexLayer):
            first.dropout = 0.0  # indices are left out before, by each member's own generator
            if isinstance(first.block, nn.EmbeddingBag):
                first.block = MeanOfVectors(first.block)
        self._numbers = differing_numbers(members)
        for place, values in self._numbers.items():
            parent, _, name = place.rpartition(".")
            module = template.get_submodule(parent)
            delattr(module, name)
            module.register_buffer(name, torch.tensor(values[0]))  # a tensor by member, passed as the others are
        self.__dict__["_template"] = template  # not a submodule: it has no state of its own
        self.__dict__["_batched"] = Batched()
        self._stack()

    def _stack(self) -> None:
        """Stack the members' tensors, and make their own tensors views of the stacked ones."""
        members = self.members
        mode = members[0].training
        parameters, buffers = torch.func.stack_module_state([member.train(mode) for member in members])
        parts = ("layers.", "label_encoder.", "head.")
        stacked = {name: value.detach() for name, value in {**parameters, **buffers}.items() if name.startswith(parts)}
        for index, member in enumerate(members):
            tensors = {**dict(member.named_parameters()), **dict(member.named_buffers())}
            for name, value in stacked.items():
                tensors[name].data = value[index]
        dtype = accumulator(torch.empty((), dtype=members[0].dtype))
        for place, values in self._numbers.items():
            stacked[place] = torch.tensor(values, dtype=dtype, device=members[0].device)
        self.__dict__["_stacked"] = stacked

    def _try(self) -> None:
        """Run one batched step on zeros without an update, so that what cannot be batched is refused here."""
        shape = None if self.input_shape is None else self.preprocessing.output_shape(self.input_shape)
        if shape is None and self._template.label_encoder is None:
            shape = self._template[0].input_shape
        if shape is None:
            return
        count = len(self.seeds)
        dtype = self.dtype if self.num_embeddings is None else torch.int64
        images = torch.zeros(count, 2, *shape, dtype=dtype, device=self.device)
        targets = self.target_kind.example(torch.zeros(2, self.num_classes or 2, dtype=self.dtype, device=self.device))
        labels = targets.expand(count, *targets.shape)
        generators = [torch.Generator(self.device).manual_seed(0) for _ in self.seeds]
        groups = check_groups(Joint()(len(self), 0, 0, 1), len(self))
        mode = self.training
        try:
            self.train()
            self._gradients(images, labels, groups, generators, self._each(None), None, False, slice(0, count))
        except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ValueError(f"members cannot be trained together with torch.vmap: {reason}") from error
        finally:
            self.train(mode)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for copies, without what is made again."""
        derived = ("_template", "_batched", "_stacked")
        return {**{k: v for k, v in self.__dict__.items() if k not in derived}, "_optimizer": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore copied or pickled replicas."""
        nn.Module.__setstate__(self, state)
        self._prepare_members()

    def _apply(self, *arguments: Any, **options: Any) -> Replicas:
        super()._apply(*arguments, **options)  # type: ignore[no-untyped-call]
        self._template._apply(*arguments, **options)  # type: ignore[no-untyped-call]
        self._stack()
        return self

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load a state of all members, as :meth:`~forwardforward.network.Network.load_state_dict`.

        Args:
            state_dict: The state.
            strict: Whether the keys must be the replicas'.
            assign: Whether to assign the tensors instead of copying them.
        """
        result = super().load_state_dict(state_dict, strict=strict, assign=assign)
        if assign:
            self._stack()
        return result

    def train(self, mode: bool = True) -> Replicas:
        """Set the mode of all members.

        Args:
            mode: Whether it is the training mode.
        """
        super().train(mode)
        self._template.train(mode)
        return self

    def set_progress(self, progress: float) -> None:
        """Set the progress of plug-ins that depend on it.

        Args:
            progress: Progress of the training, from 0 to 1; set by ``fit`` in each epoch.
        """
        for plugin in self._template.modules():
            set_progress = getattr(plugin, "set_progress", None)
            if set_progress is not None:
                set_progress(progress)

    # A network, as the training sees it

    @property
    def layers(self) -> nn.ModuleList:  # type: ignore[override]
        """The layers of the architecture; their weights are nobody's."""
        return self._template.layers

    @property
    def layers_classify(self) -> bool:
        """Whether every layer classifies by its own goodness."""
        return self._template.layers_classify

    @property
    def is_set_up(self) -> bool:
        """Whether the shapes of all parameters are known, which is always so."""
        return True

    def setup(self, input_shape: Sequence[PositiveInt]) -> None:
        """Check the shape of the input.

        Args:
            input_shape: Shape of one raw input.
        """
        for member in self.members:
            member.setup(input_shape)
        self._template.input_shape = tuple(input_shape)
        super().setup(input_shape)

    def parameter_groups(self) -> Mapping[str, nn.Module]:
        """Return the modules of the architecture that are updated separately, by name."""
        return self._template.parameter_groups()

    def local_optimizer(self, optimizer: LocalOptimizer) -> ReplicaOptimizer:
        """Return the optimizer of all members; for the same argument the same, with its state.

        Args:
            optimizer: The optimizer that each member has a copy of, or a ``ReplicaOptimizer``.
        """
        if isinstance(optimizer, ReplicaOptimizer):
            return optimizer
        if self._optimizer is None or self._optimizer[0] is not optimizer:
            self._optimizer = optimizer, ReplicaOptimizer([optimizer] * len(self.seeds))
        return self._optimizer[1]

    # Training

    def step(  # type: ignore[override]
        self,
        batch: tuple[Tensor, Tensor | None],
        optimizer: LocalOptimizer,
        *,
        groups: Groups | None = None,
        generator: Sequence[torch.Generator] | None = None,
        dropout: Sequence[torch.Generator] | None = None,
        autocast: torch.dtype | None = None,
        monitor: bool = False,
        whole_step: WholeStep | None = None,
        validate: bool = True,
    ) -> StepResult:
        """Update all members once.

        Args:
            batch: Raw images ``(members, batch, ...)`` and targets ``(members, batch)``, or ``(members, batch, ...)``.
            optimizer: The optimizer of each member, or a ``ReplicaOptimizer``.
            groups: The layers to update, see :mod:`forwardforward.update_schedules`; default: each by itself.
            generator: Source of randomness for each member's negatives, on the network's device.
            dropout: Source of randomness for each member's dropout of an embedding layer; default: the global one.
            autocast: Compute precision, such as ``torch.bfloat16``; goodness and weights keep theirs.
            monitor: Whether to measure gradient norms.
            whole_step: Its ``compile`` states whether to compile; default: not.
            validate: Whether to check the values of the batch, which waits for the device.

        Returns:
            The local losses, whose figures are tensors ``(members,)``.
        """
        count = len(self.seeds)
        for name, generators in (("generator", generator), ("dropout", dropout)):
            if generators is not None and (isinstance(generators, torch.Generator) or len(generators) != count):
                raise ValueError(f"{name} must be one generator per member, {count}, got {generators}")
        updates = self.local_optimizer(optimizer)
        if not updates.is_attached(self):
            updates.attach(self)
        checked_groups = check_groups(Joint()(len(self), 0, 0, 1) if groups is None else groups, len(self))
        compiles = whole_step is not None and whole_step.compile
        if whole_step is not None:
            self._batched.on_compile = whole_step.on_compile
        images, labels = self._prepared(batch, validate)
        names: list[tuple[str, ...]] = [(str(i),) for i in range(len(self))]
        if "label_encoder" in self.parameter_groups():
            names[0] = ("0", "label_encoder")
        sets = Stack(self._template.stack, names).updates(checked_groups)
        figures: list[dict[str, Any]] = []
        norms: list[dict[int, Tensor]] = []
        for part in self._parts():
            result = self._gradients(
                images[part],
                None if labels is None else labels[part],
                checked_groups,
                self._each(generator)[part],
                self._each(dropout)[part],
                autocast,
                compiles,
                part,
            )
            gradients = result["gradients"]
            with torch.no_grad():
                for name, value in result["buffers"].items():
                    if name not in self._numbers:
                        self._stacked[name][part].copy_(value)
                if monitor:
                    norms.append(_norms(gradients))
                with_head = [*sets, ["head"]] if "head" in result["figures"] else sets
                updates.update(self._stacked, gradients, with_head, part, compiles)
            figures.append(result["figures"])
        return _step_result(figures, norms)

    def _parts(self) -> list[slice]:
        """Return the members that are computed together; their parameters fit into the processor's cache."""
        count = len(self.seeds)
        size = sum(value.numel() * value.element_size() for value in self._stacked.values()) // count
        most = count if self.device.type != "cpu" else max(1, CACHE // max(1, size))
        largest = max(divisor for divisor in range(1, count + 1) if count % divisor == 0 and divisor <= most)
        return [slice(start, start + largest) for start in range(0, count, largest)]

    def _prepared(self, batch: tuple[Tensor, Tensor | None], validate: bool) -> tuple[Tensor, Tensor | None]:
        """Return preprocessed images and labels of all members."""
        count = len(self.seeds)
        images, labels = batch
        if len(images) != count or (labels is not None and len(labels) != count):
            raise ValueError(f"batch must contain images (members, batch, ...) of {count} members, got {len(images)}")
        if labels is None and self._template.needs_labels:
            raise ValueError("labels must be given for this network's objectives, got None")
        rows, flat = self._checked_batch(
            (images.flatten(0, 1), None if labels is None else labels.flatten(0, 1)), validate
        )
        return rows.unflatten(0, (count, -1)), None if flat is None else flat.unflatten(0, (count, -1))

    def _gradients(
        self,
        images: Tensor,
        labels: Tensor | None,
        groups: Any,
        generator: Generators,
        dropout: Generators,
        autocast: torch.dtype | None,
        compile: bool,
        part: slice,
    ) -> dict[str, Any]:
        """Return gradients, new buffers and figures of some members."""
        template, stacked = self._template, {name: value[part] for name, value in self._stacked.items()}
        batch, has_negatives = self._samples(images, labels, generator, part, autocast, compile)
        function = MemberGradients(template, groups, has_negatives, autocast)
        inactive = [layer for index, layer in enumerate(template.stack) if index not in function.step_function.updated]
        if 0 in function.step_function.updated and self.training:
            batch = without_dropped(self.members[part], batch, dropout)
        with eval_mode(*inactive):
            result: dict[str, Any] = self._batched(function, stacked, batch, self.training, compile)
        return result

    def _samples(
        self,
        images: Tensor,
        labels: Tensor | None,
        generators: Generators,
        part: slice,
        autocast: torch.dtype | None = None,
        compile: bool = False,
    ) -> tuple[dict[str, Any], bool]:
        """Return the stacked samples of some members, and whether they have negatives."""
        batch: dict[str, Any] = {} if labels is None else {"labels": labels}
        features, scores = self._scores(images, generators, part, autocast, compile)
        if features is not None:
            batch["features"] = features
        with autocast_to(autocast, images.device):
            samples, has_negatives = stacked_samples(self.members[part], images, labels, scores, generators)
        return {**samples, **batch}, has_negatives

    def _scores(
        self, images: Tensor, generators: Generators, part: slice, autocast: torch.dtype | None, compile: bool
    ) -> tuple[Tensor | None, Tensor | None]:
        """Return the head's features under a label without information, and the scores that the negatives need."""
        template = self._template
        if template.label_encoder is None or (template.head is None and template.needed_scores is None):
            return None, None
        batch = {"images": images}
        if template.head is not None:
            labels = [template.scorer.head_labels(x, g) for x, g in zip(images, generators, strict=True)]
            if labels[0] is not None:
                batch["labels"] = torch.stack([label for label in labels if label is not None])
        function = MemberScores(template, template.needed_scores, autocast)
        with eval_mode(template), torch.no_grad():
            stacked = {name: value[part] for name, value in self._stacked.items()}
            values: dict[str, Tensor] = self._batched(function, stacked, batch, False, compile)
        return values.get("features"), values.get("scores")

    def _each(self, generators: Sequence[torch.Generator] | None) -> Generators:
        return [None] * len(self.seeds) if generators is None else generators

    # Outputs of all members

    def forward(self, images: Tensor) -> Tensor:
        """Return the last layer's output of every member, ``(members, batch, ...)``.

        Args:
            images: Raw images, ``(batch, ...)``, which all members read.
        """
        return torch.stack([member(images) for member in self.members])

    def activations(self, images: Array, labels: Array | None = None) -> dict[int, Tensor]:
        """Return the output of every layer by its index, ``(members, batch, ...)``.

        Args:
            images: Raw images, ``(batch, ...)``.
            labels: Class indices to join to the images; default: the neutral label.
        """
        members = [member.activations(images, labels) for member in self.members]
        return {index: torch.stack([values[index] for values in members]) for index in members[0]}

    @torch.no_grad()
    def layer_goodness(self, images: Array) -> Tensor:
        """Return each layer's goodness of each image under every label, ``(members, batch, layers, classes)``.

        Args:
            images: Raw images, ``(batch, ...)``.
        """
        if not self.layers_classify:
            raise ValueError("this network's goodness does not depend on labels: classify by its head")
        return check_finite(self._evaluate(goodness, self.prepare(images)))

    @torch.no_grad()
    def head_logits(self, images: Array, generator: torch.Generator | None = None) -> Tensor:
        """Return the one-pass head's logits, ``(members, batch, classes)``.

        Args:
            images: Raw images, ``(batch, ...)``.
            generator: Draws the labels of a head that reads features under random labels, the same for all members;
                default: the same in every call.
        """
        head = self._template.head
        if head is None:
            raise ValueError("head must be given for this: FFSequential(..., head=ff.heads.LinearHead(num_classes))")
        x = self.prepare(images)
        if generator is None and head.label == "random":
            generator = torch.Generator(x.device).manual_seed(0)
        labels = self._template.scorer.head_labels(x, generator)
        return check_finite(self._evaluate(logits, x, labels))

    @torch.no_grad()
    def scores(self, images: Array) -> Tensor:
        """Return the classifiers' scores, ``(members, batch, classes)``; the largest wins.

        Args:
            images: Raw images, ``(batch, ...)``.
        """
        if self._template.classifier == "head":
            return self.head_logits(images)
        return self.classify(self.layer_goodness(images))

    def classify(self, goodness: Tensor, logits: Tensor | None = None) -> Tensor:
        """Return the classifiers' scores ``(members, batch, classes)`` of goodness.

        Args:
            goodness: As :meth:`layer_goodness` returns it.
            logits: No effect: no member's classifier reads the head's logits.
        """
        return torch.stack([member.classify(g) for member, g in zip(self.members, goodness, strict=True)])

    @torch.no_grad()
    def measure(self, images: Tensor, labels: Tensor, generators: Generators) -> Measurement:
        """Return what an evaluation needs of one batch that all members read.

        Args:
            images: Raw images, ``(batch, ...)``.
            labels: Class indices, ``(batch,)``.
            generators: Source of randomness for each member's negatives.
        """
        values = self.layer_goodness(images) if self.layers_classify else None
        outputs = None if self._template.head is None else self.head_logits(images)
        if not self.uses_negatives or len(images) < 2:
            return Measurement(values, outputs, None)
        count = len(self.seeds)
        rows = self.prepare(images)
        batch, has_negatives = self._samples(
            rows.expand(count, *rows.shape),
            self.check_labels(rows, labels).expand(count, -1),
            generators,
            slice(0, count),
        )
        function, network = partial(local_figures, has_negatives=has_negatives), Call(self._template)

        def figures(state: dict[str, Tensor], samples: dict[str, Any]) -> Any:
            return network.with_state(state, function, samples)

        with eval_mode(self._template):
            by_layer = torch.vmap(figures)(self._stacked, batch)
        losses: list[LocalLoss] = [figures_of(by_layer[str(index)]) for index in range(len(self))]
        return Measurement(values, outputs, [loss.accuracy for loss in losses])

    def _evaluate(self, function: Callable[..., Tensor], x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return a function of all members' networks on prepared images that they share, in chunks."""
        template = self._template
        size = max(x[0].numel(), *(layer.largest_size for layer in template.stack))
        copies = template.label_encoder.num_classes if template.label_encoder is not None else 1
        rows = max(1, template.chunk_size // (size * copies * len(self.seeds)))

        network = Call(template)

        def computed(state: dict[str, Tensor], *arguments: Tensor) -> Any:
            return network.with_state(state, function, *arguments)

        parts = []
        with eval_mode(template):
            for start in range(0, len(x), rows):
                arguments = [x[start : start + rows]] + ([] if labels is None else [labels[start : start + rows]])
                parts.append(torch.vmap(computed, (0, *[None] * len(arguments)))(self._stacked, *arguments))
        return torch.cat(parts, dim=1)

    def predict(self, inputs: Data, batch_size: PositiveInt = 1000) -> Tensor:
        """Return the prediction of each input by every member, such as its class, ``(members, samples)``.

        Args:
            inputs: Raw inputs, as for :meth:`~forwardforward.network.Network.predict`.
            batch_size: Samples per batch.
        """
        decisions = torch.cat([self.decide(scores) for scores in self._all_scores(inputs, batch_size)], dim=1)
        return decisions.squeeze(2) if self.target_scaling is not None and decisions.shape[2:] == (1,) else decisions

    def decide(self, scores: Tensor) -> Tensor:
        """Return the predictions of scores of every member.

        Args:
            scores: ``(members, ..., classes)``.
        """
        return torch.stack([member.decide(values) for member, values in zip(self.members, scores, strict=True)])

    def predict_proba(self, inputs: Data, batch_size: PositiveInt = 1000) -> Tensor:
        """Return the probabilities of every member, such as the softmax of its scores, ``(members, samples, classes)``.

        Args:
            inputs: Raw inputs, as for :meth:`~forwardforward.network.Network.predict`.
            batch_size: Samples per batch.
        """
        probabilities = self.target_kind.probabilities
        return torch.cat([probabilities(scores) for scores in self._all_scores(inputs, batch_size)], dim=1)

    def extra_repr(self) -> str:
        """Return the seeds."""
        return f"seeds={list(self.seeds)}"


@checked
def replicate(make_model: Callable[[], nn.Module], seeds: Sequence[int]) -> Replicas:
    """Return networks of one architecture with different seeds, to be trained together.

    Each equals ``torch.manual_seed(seed); model = make_model()``, trained by ``fit(model, train, seed=seed)``. The
    caller's random state is restored.

    Args:
        make_model: Makes a network, an :class:`~forwardforward.FFSequential`.
        seeds: One random seed per network, of its weights and its training.

    Raises:
        TypeError: If ``make_model`` returns something else.
        ValueError: If the networks cannot be trained together, see :class:`Replicas`.

    Example:
        >>> import forwardforward as ff
        >>> def make_model():
        ...     return ff.FFSequential(
        ...         ff.FFLinear(8, 6), goodness=ff.goodness.LearnedProjection(2), loss=ff.losses.CrossEntropy()
        ...     )
        >>> replicas = replicate(make_model, seeds=range(30))
        >>> data = torch.rand(20, 8), torch.arange(20) % 2
        >>> history = ff.fit(replicas, data, validation=data, epochs=1, progress=False)
        >>> len(history.members), len(ff.evaluate(replicas, data).members)
        (30, 30)
    """
    members = []
    with torch.random.fork_rng():
        for seed in seeds:
            torch.manual_seed(seed)
            members.append(make_model())
    return Replicas(members, seeds)


def _norms(gradients: Mapping[str, Tensor]) -> dict[int, Tensor]:
    """Return the norm of each layer's gradient by layer, ``(members,)``."""
    squares: dict[int, Tensor] = {}
    for name, value in gradients.items():
        part, _, rest = name.partition(".")
        if part == "layers":
            index = int(rest.partition(".")[0])
            square = torch.linalg.vector_norm(value.reshape(len(value), -1), dim=1).square()
            squares[index] = squares[index] + square if index in squares else square
    return {index: square.sqrt() for index, square in squares.items()}


def _step_result(figures: Sequence[dict[str, Any]], norms: Sequence[dict[int, Tensor]]) -> StepResult:
    """Return the figures of all members, given those of each part."""
    joined = pytree.tree_map(lambda *values: torch.cat(values), *figures)
    head = joined.pop("head", None)
    layers = {int(index): figures_of(values) for index, values in joined.items()}
    gradient_norms = {i: torch.cat([part[i] for part in norms]) for i in layers if norms}
    return StepResult(layers, None if head is None else figures_of(head), gradient_norms)
