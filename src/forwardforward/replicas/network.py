"""Networks of one architecture, trained together."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor, nn

from forwardforward._utils.arguments import PositiveInt, StrPath, checked
from forwardforward._utils.checks import check_finite
from forwardforward._utils.training_progress import set_progress
from forwardforward.data.batching import Data
from forwardforward.network import Network
from forwardforward.optimizers import LocalOptimizer
from forwardforward.preprocessing import Array
from forwardforward.replicas.functions import goodness, gradient_norms, logits, step_result
from forwardforward.replicas.members import check_members, place_of_error
from forwardforward.replicas.optimizer import ReplicaOptimizer
from forwardforward.replicas.sampling import Generators
from forwardforward.replicas.stacked import StackedMembers
from forwardforward.sequential import FFSequential
from forwardforward.specs import example_inputs
from forwardforward.step import StepResult, WholeStep, check_groups
from forwardforward.update_schedules import Groups, Joint

__all__ = ["Measurement", "Replicas"]


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
        self._stacked = StackedMembers(self.members)
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
        self._stacked = StackedMembers(self.members)
        return self

    def _try(self) -> None:
        """Run one batched step and evaluation on zeros without an update, and refuse here what cannot be batched."""
        stacked, count, device, head = self._stacked, len(self.seeds), self.device, self._stacked.template.head
        shape = None if self.input_shape is None else self.preprocessing.output_shape(self.input_shape)
        joined = shape is None and stacked.template.label_encoder is not None  # the image's own shape is not known
        shape = stacked.template[0].input_shape if shape is None else shape
        assert shape is not None  # members are set up
        images = example_inputs(count, (4 if joined else 2, *shape), self.num_embeddings, self.dtype, device)
        targets = self.target_kind.example(torch.zeros(2, self.num_classes or 2, dtype=self.dtype, device=device))
        labels = targets.expand(count, *targets.shape)
        groups = check_groups(Joint()(len(self), 0, 0, 1), len(self))
        mode, every = self.training, slice(0, count)
        try:
            self.train()
            if joined:
                samples: dict[str, Any] = {"inputs": images, "labels": labels}
                if head is not None and head.linear is not None:
                    samples["features"] = images.new_zeros(count, 2, head.linear.in_features)
                has_negatives = True
            else:
                generators = [torch.Generator(device).manual_seed(0) for _ in self.seeds]
                samples, has_negatives = stacked.samples(images, labels, generators, every)
            stacked.gradients_of(samples, has_negatives, groups, self._each(None), every)
            with torch.no_grad():
                stacked.local_losses_of(samples, has_negatives)
                if self.layers_classify and not joined:
                    stacked.evaluate(goodness, images[0])
        except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            place = place_of_error(error, stacked.template)
            raise ValueError(f"members cannot be trained together with torch.vmap{place}: {reason}") from error
        finally:
            self.train(mode)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for copies, without what is made again."""
        return {**{k: v for k, v in self.__dict__.items() if k != "_stacked"}, "_optimizer": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore copied or pickled replicas."""
        nn.Module.__setstate__(self, state)
        self._stacked = StackedMembers(self.members)

    def _apply(self, *arguments: Any, **options: Any) -> Replicas:
        super()._apply(*arguments, **options)  # type: ignore[no-untyped-call]
        self._stacked.template._apply(*arguments, **options)  # type: ignore[no-untyped-call]
        self._stacked.stack()
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
            self._stacked.stack()
        return result

    def train(self, mode: bool = True) -> Replicas:
        """Set the mode of all members.

        Args:
            mode: Whether it is the training mode.
        """
        super().train(mode)
        self._stacked.template.train(mode)
        return self

    def set_progress(self, progress: float) -> None:
        """Set the progress of plug-ins that depend on it.

        Args:
            progress: Progress of the training, from 0 to 1; set by ``fit`` in each epoch.
        """
        set_progress(self._stacked.template.modules(), progress)

    # A network, as the training sees it

    @property
    def layers(self) -> nn.ModuleList:  # type: ignore[override]
        """The layers of the architecture; their weights are nobody's."""
        return self._stacked.template.layers

    @property
    def layers_classify(self) -> bool:
        """Whether every layer classifies by its own goodness."""
        return self._stacked.template.layers_classify

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
        self._stacked.template.input_shape = tuple(input_shape)
        super().setup(input_shape)
        if self._stacked.template.label_encoder is not None:  # it was not tried before the images' shape was known
            self._try()

    def parameter_groups(self) -> Mapping[str, nn.Module]:
        """Return the modules of the architecture that are updated separately, by name."""
        return self._stacked.template.parameter_groups()

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
            whole_step: Its ``compile`` and ``cuda_graph`` state whether to compile and to record the step; default:
                neither.
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
        batched = self._stacked.batched
        batched.recorded = whole_step.recorded if whole_step is not None and whole_step.cuda_graph else None
        if whole_step is not None:
            batched.on_compile = whole_step.on_compile
        images, labels = self._prepared(batch, validate)
        sets = self._stacked.template.training_stack().updates(checked_groups)
        figures: list[dict[str, Any]] = []
        norms: list[dict[int, Tensor]] = []
        for part in self._stacked.parts():
            result = self._stacked.gradients(
                images[part],
                None if labels is None else labels[part],
                checked_groups,
                self._each(generator)[part],
                self._each(dropout)[part],
                part,
                autocast,
                compiles,
            )
            gradients = result["gradients"]
            with torch.no_grad():
                self._stacked.set_buffers(result["buffers"], part)
                if monitor:
                    norms.append(gradient_norms(gradients))
                with_head = [*sets, ["head"]] if "head" in result["figures"] else sets
                updates.update(self._stacked.tensors, gradients, with_head, part, compiles, batched.is_recorded)
            figures.append(result["figures"])
        return step_result(figures, norms)

    def _prepared(self, batch: tuple[Tensor, Tensor | None], validate: bool) -> tuple[Tensor, Tensor | None]:
        """Return preprocessed images and labels of all members."""
        count = len(self.seeds)
        images, labels = batch
        if len(images) != count or (labels is not None and len(labels) != count):
            raise ValueError(f"batch must contain images (members, batch, ...) of {count} members, got {len(images)}")
        if labels is None and self._stacked.template.needs_labels:
            raise ValueError("labels must be given for this network's objectives, got None")
        rows, flat = self._checked_batch(
            (images.flatten(0, 1), None if labels is None else labels.flatten(0, 1)), validate
        )
        return rows.unflatten(0, (count, -1)), None if flat is None else flat.unflatten(0, (count, -1))

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
        return check_finite(self._stacked.evaluate(goodness, self.prepare(images)))

    @torch.no_grad()
    def head_logits(self, images: Array, generator: torch.Generator | None = None) -> Tensor:
        """Return the one-pass head's logits, ``(members, batch, classes)``.

        Args:
            images: Raw images, ``(batch, ...)``.
            generator: Draws the labels of a head that reads features under random labels, the same for all members;
                default: the same in every call.
        """
        head = self._stacked.template.head
        if head is None:
            raise ValueError("head must be given for this: FFSequential(..., head=ff.heads.LinearHead(num_classes))")
        x = self.prepare(images)
        if generator is None and head.label == "random":
            generator = torch.Generator(x.device).manual_seed(0)
        labels = self._stacked.template.scorer.head_labels(x, generator)
        return check_finite(self._stacked.evaluate(logits, x, labels))

    @torch.no_grad()
    def scores(self, images: Array) -> Tensor:
        """Return the classifiers' scores, ``(members, batch, classes)``; the largest wins.

        Args:
            images: Raw images, ``(batch, ...)``.
        """
        if self._stacked.template.classifier == "head":
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
        outputs = None if self._stacked.template.head is None else self.head_logits(images)
        if not self.uses_negatives or len(images) < 2:
            return Measurement(values, outputs, None)
        count = len(self.seeds)
        rows = self.prepare(images)
        targets = self.check_labels(rows, labels).expand(count, -1)
        losses = self._stacked.local_losses(rows.expand(count, *rows.shape), targets, generators)
        return Measurement(values, outputs, [loss.accuracy for loss in losses])

    def for_prediction(self) -> NoReturn:
        """Refuse the copy, which members have.

        Raises:
            TypeError: In every call.
        """
        raise TypeError("replicas have no such copy: replicas.member(0).for_prediction() is that of the first")

    def save_pretrained(self, folder: StrPath, *, dtype: torch.dtype | None = None) -> NoReturn:
        """Refuse to save all members as one model.

        Args:
            folder: A folder.
            dtype: Precision of stored weights.

        Raises:
            TypeError: In every call.
        """
        raise TypeError("replicas are saved one by one: replicas.member(0).save_pretrained(folder) saves the first")

    def predict(self, inputs: Data, batch_size: PositiveInt = 1000) -> Tensor:
        """Return the prediction of each input by every member, such as its class, ``(members, samples)``.

        Args:
            inputs: Raw inputs, as for :meth:`~forwardforward.network.Network.predict`.
            batch_size: Samples per batch.
        """
        return torch.cat([self.predictions(scores) for scores in self._all_scores(inputs, batch_size)], dim=1)

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
