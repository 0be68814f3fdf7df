"""An FFSequential of the parts of a module."""

from __future__ import annotations

import copy as copying
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, fx, nn

from forwardforward._utils.annotations import describe
from forwardforward._utils.arguments import NumClasses, PositiveInt, checked
from forwardforward._utils.convolution import Conv2d
from forwardforward.goodness import LearnedProjection, Logits
from forwardforward.layers import FFLayer
from forwardforward.layers.embedding import IndexLayer
from forwardforward.losses import ClassLoss, CrossEntropy
from forwardforward.network import Network
from forwardforward.objectives import Objective
from forwardforward.pooling import MeanPool
from forwardforward.sequential import FFSequential
from forwardforward.stages.chain import Segment, part
from forwardforward.stages.grouping import Split, find_stages, listed_submodules, named_stages
from forwardforward.stages.tracing import UntraceableError, unchanged_attributes

__all__ = ["from_module"]


@checked
def from_module(
    module: nn.Module,
    num_classes: NumClasses | None = None,
    *,
    stages: Sequence[str] | None = None,
    keep_classifier: bool = False,
    copy: bool = False,
    goodness: Callable[[Tensor], Tensor] | None = None,
    loss: Callable[..., Tensor] | None = None,
    objective: Objective | None = None,
    input_shape: Sequence[PositiveInt] | None = None,
    **options: Any,
) -> FFSequential:
    """Return a network whose layers are the stages of a module, each with its own objective.

    The module's forward pass is recorded by :mod:`torch.fx` and divided where one tensor is all that the later
    operations read: after the blocks of a ResNet, a transformer or an MLP-Mixer, or after the activations of a plain
    :class:`torch.nn.Sequential`. What the forward pass does between its submodules, such as flattening, adding a
    position embedding or prepending a class token, becomes part of the layer after or before it. The result is an
    ordinary :class:`~forwardforward.FFSequential`: training, evaluation, checkpoints, schedules and diagnostics work as
    for any other, and computing all layers one after the other gives what the module computes. Its weights are saved by
    ``state_dict()``; ``save_pretrained``, which describes a network by constructor calls, refuses it.

    The layers are the module's own submodules, with their present weights, running statistics, hooks and frozen
    parameters: training the network trains the module, whose ``state_dict()`` can be saved under its own names. Batch
    normalization updates its running statistics once per step. Modules of the class :class:`torch.nn.Conv2d` get a
    subclass of it, which computes small maps faster on CPUs. With ``copy=True`` the module is left unchanged.

    Args:
        module: A module whose ``forward`` takes one input; other arguments have their defaults.
        num_classes: Number of classes.
        stages: Names of submodules, as in ``module.named_modules()``; a layer ends after each of them, and what comes
            after the last is the classifier. Default: found from the modules. A chain of submodules (a
            :class:`torch.nn.Sequential`, a :class:`torch.nn.TransformerEncoder`, or a module that calls several blocks
            of its own) is divided, and any other module of several operations is one block. A layer has weights and an
            activation, so that a linear embedding belongs to the layer after it; what comes after the last activation
            is the classifier.
        keep_classifier: Whether the classifier becomes the last layer, trained with the cross-entropy of its outputs,
            one per class. Default: it is dropped, and every layer classifies by its own objective.
        copy: Whether the layers are copies.
        goodness: Goodness of every layer. Default, if neither goodness, loss nor objective is given: a learned
            projection of the means over 2x2 patches of maps ``(rows, channels, height, width)`` or over the positions
            of sequences ``(rows, positions, features)`` to one number per class, with the cross-entropy, see
            :class:`~forwardforward.goodness.LearnedProjection` and :class:`~forwardforward.pooling.MeanPool`.
        loss: Loss of every layer.
        objective: In place of ``goodness`` and ``loss``: the objective of every layer.
        input_shape: Shape of one raw input; default: taken from the first batch.
        **options: Further arguments of :class:`~forwardforward.FFSequential`, such as ``preprocessing``,
            ``label_encoder`` and ``classifier``.

    Raises:
        TypeError: If an argument has the wrong kind.
        ValueError: If the forward pass cannot be recorded, stages are not found or the module cannot be divided there,
            the module does not accept ``input_shape``, two layers share parameters, or plug-ins do not fit together.

    Source of the default objective: Gong et al., Mono-Forward (2025), arXiv 2501.09238.

    Example:
        >>> import torch, forwardforward as ff
        >>> module = nn.Sequential(
        ...     nn.Conv2d(1, 4, 3),
        ...     nn.BatchNorm2d(4),
        ...     nn.ReLU(),
        ...     nn.Flatten(),
        ...     nn.Linear(144, 20),
        ...     nn.ReLU(),
        ...     nn.Linear(20, 3),
        ... )
        >>> model = from_module(module, num_classes=3, input_shape=(1, 8, 8))
        >>> len(model), model.predict(torch.rand(5, 1, 8, 8)).shape
        (2, torch.Size([5]))
        >>> model[0].block.get_submodule("0") is module[0]
        True
    """
    if isinstance(module, Network | FFLayer):
        raise TypeError(f"module must not have local objectives yet, got {describe(module)}")
    if goodness is None and loss is None and objective is None:
        if num_classes is None:
            raise ValueError("num_classes must be given for the default objective, got None")
        goodness, loss = LearnedProjection(num_classes, pool=MeanPool(2)), CrossEntropy()
    with unchanged_attributes(module):
        split = _split(module, stages)
        root = copying.deepcopy(module) if copy else module
        layers = [_layer(root, stage) for stage in split.stages]
        if keep_classifier:
            layers.append(_classifier(root, split.rest, num_classes, loss))
    _check_separate(layers)
    for layer in layers:
        _use_faster_convolutions(layer)
    return FFSequential(
        *layers,
        goodness=goodness,
        loss=loss,
        objective=objective,
        num_classes=num_classes,
        input_shape=input_shape,
        **options,
    )


def _split(module: nn.Module, stages: Sequence[str] | None) -> Split:
    """Return the segments of every layer, and those after the last."""
    try:
        return find_stages(module) if stages is None else named_stages(module, stages)
    except UntraceableError as error:
        raise ValueError(
            f"module must have a forward pass that torch.fx can record, got {type(module).__name__}: {error}; instead, "
            f"call FFSequential(*blocks) with the module as one block, or with some of {listed_submodules(module)}"
        ) from error


def _layer(root: nn.Module, stage: Sequence[Segment]) -> FFLayer:
    """Return a layer of some segments; one that looks its input up in a table takes indices."""
    block = part(root, stage, "Stage")
    for node in stage[0].nodes:
        embedding = root.get_submodule(str(node.target)) if node.op == "call_module" else None
        source = node.args[0] if node.args else None
        if isinstance(embedding, nn.Embedding) and isinstance(source, fx.Node) and source.op == "placeholder":
            return IndexLayer(block, embedding.num_embeddings, dropout=0.0)
    return FFLayer(block)


def _classifier(
    root: nn.Module, rest: Sequence[Segment], num_classes: int | None, loss: Callable[..., Tensor] | None
) -> FFLayer:
    """Return the layer of the module's classifier, whose outputs are the goodness of the classes."""
    if num_classes is None:
        raise ValueError("num_classes must be given for keep_classifier=True, got None")
    block = part(root, rest, "Classifier") if rest else nn.Identity()
    if not any(True for _ in block.parameters()):
        raise ValueError(
            "keep_classifier must be False for a module without weights after its last stage: stages end before the "
            "classifier, or are found from the modules if stages is None"
        )
    return FFLayer(block, goodness=Logits(num_classes), loss=loss if isinstance(loss, ClassLoss) else CrossEntropy())


def _use_faster_convolutions(layer: nn.Module) -> None:
    """Give plain convolutions this library's class; parameters, hooks and names stay."""
    for module in layer.modules():
        if type(module) is nn.Conv2d:
            module.__class__ = Conv2d


def _check_separate(layers: Sequence[FFLayer]) -> None:
    """Refuse parameters of two layers, each of which would update them."""
    owners: dict[nn.Parameter, tuple[int, str]] = {}
    for index, layer in enumerate(layers):
        for name, parameter in layer.block.named_parameters():
            first, first_name = owners.setdefault(parameter, (index, name))
            if first != index:
                raise ValueError(
                    f"module must not share parameters between layers, but {first_name} of layer {first} is {name} of "
                    f"layer {index}: pass stages= so that one layer contains both"
                )
