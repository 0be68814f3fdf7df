"""Whether the parts of a network fit together, and the parts that follow from the others."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from forwardforward._utils.annotations import describe
from forwardforward.classifiers import (
    BestInterval,
    Candidates,
    GoodnessReadout,
    MeanOverLayers,
    SumOverLayers,
    WeightedSum,
    WithHead,
)
from forwardforward.heads import LinearHead
from forwardforward.label_encoders import LabelEncoder
from forwardforward.layers import FFLayer
from forwardforward.network import Classifier
from forwardforward.objectives import Objective
from forwardforward.targets import ClassIndices, RealValues, TargetKind
from forwardforward.targets.kind import common_kind

__all__ = [
    "check_classifier",
    "checked_head",
    "checked_layer",
    "common_num_classes",
    "common_target_kind",
    "common_use_of_negatives",
    "default_classifier",
]

#: Classifiers that choose or learn by the class of each sample.
NEED_ONE_CLASS = BestInterval | Candidates | GoodnessReadout | WeightedSum


def checked_layer(index: int, layer: nn.Module) -> FFLayer:
    """Return a layer; a plain module is wrapped."""
    if isinstance(layer, FFLayer):
        return layer
    if not isinstance(layer, nn.Module) or isinstance(layer, nn.ModuleList):
        raise TypeError(
            f"layers must be modules, each a separate argument (FFSequential(*layers)), got {type(layer).__name__}"
        )
    if not any(True for _ in layer.parameters()):
        raise ValueError(
            f"layers must have parameters to learn, got {describe(layer)} as layer {index}; make it part of a layer's "
            "block, such as FFLayer(nn.Sequential(module, nn.Linear(...)))"
        )
    return FFLayer(layer)


def common_use_of_negatives(objectives: Sequence[Objective]) -> bool:
    """Return whether the objectives compare positive with negative samples, all or none of them."""
    kinds = {objective.uses_negatives for objective in objectives}
    if len(kinds) > 1:
        names = ", ".join(type(objective).__name__ for objective in objectives)
        raise ValueError(
            "layers must all have pair objectives or none, since a per-class layer after a labeled input "
            f"would read the label; got {names}"
        )
    return kinds.pop()


def common_target_kind(objectives: Sequence[Objective]) -> TargetKind:
    """Return the kind of the targets of all objectives; default: class indices."""
    kind = common_kind(objective.target_kind for objective in objectives)
    return ClassIndices() if kind is None else kind


def common_num_classes(
    num_classes: int | None,
    objectives: Sequence[Objective],
    label_encoder: LabelEncoder | None,
    head: LinearHead | None,
) -> int | None:
    """Return the number of classes that the argument and the parts state, None if none of them does."""
    counts = [num_classes, *(objective.num_classes for objective in objectives)]
    counts += [part.num_classes for part in (label_encoder, head) if part is not None]
    distinct = {count for count in counts if count is not None}
    if len(distinct) > 1:
        raise ValueError(
            f"num_classes must be the same everywhere, got {sorted(distinct)} in the argument, layers, "
            "label_encoder and head"
        )
    return distinct.pop() if distinct else None


def checked_head(
    head: LinearHead | None,
    depth: int,
    target_kind: TargetKind,
    num_classes: int | None,
    layers_classify: bool,
    needed_scores: str | None,
) -> LinearHead | None:
    """Return the head, a new one if nothing else can classify or the negatives need its scores.

    Args:
        head: The argument.
        depth: Number of layers.
        target_kind: Kind of the targets.
        num_classes: Number of classes, if it is known.
        layers_classify: Whether every layer classifies by its own goodness.
        needed_scores: The scores that the negatives need.
    """
    if isinstance(target_kind, RealValues) and (head is not None or not layers_classify):
        raise ValueError(
            "head must be None for targets that are real values, which every layer predicts by its own goodness, "
            f"got {'layers without a goodness' if head is None else head}"
        )
    if head is None:
        needed = not layers_classify and num_classes is not None
        if needed_scores != "head" and not needed:
            return None
        if num_classes is None:
            raise ValueError("num_classes must be given for a network with a head, got None")
        head = LinearHead(num_classes)
    if head.linear is not None:
        raise ValueError("a head can be part of one network only, got one that is part of a network already")
    head.indices(depth)
    return head


def default_classifier(target_kind: TargetKind, layers_classify: bool, layers: slice) -> Classifier:
    """Return the classifier of a network for which none was given.

    Args:
        target_kind: Kind of the targets.
        layers_classify: Whether every layer classifies by its own goodness.
        layers: The layers that classify.
    """
    if isinstance(target_kind, RealValues):
        return MeanOverLayers()
    return SumOverLayers(layers) if layers_classify else "head"


def check_classifier(
    classifier: Classifier, target_kind: TargetKind, layers_classify: bool, head: LinearHead | None
) -> None:
    """Refuse a classifier that needs what the network does not have."""
    if (classifier == "head" or isinstance(classifier, WithHead)) and head is None:
        raise ValueError(f"head must be given for classifier={classifier!r}, got None")
    if classifier != "head" and not layers_classify:
        raise ValueError(
            "classifier must be None or 'head' for layers without a goodness of every class, "
            f"got {describe(classifier)}"
        )
    if not target_kind.has_one_class and isinstance(classifier, NEED_ONE_CLASS):
        raise ValueError(
            f"classifier must score each output by itself for targets of the kind {target_kind!r}, as "
            f"SumOverLayers does, got {describe(classifier)}"
        )
