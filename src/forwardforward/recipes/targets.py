"""Recipes for targets other than classes: mixed classes, several labels, real values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from forwardforward._utils.arguments import NonNegativeFloat, NonNegativeInt, NumClasses, PositiveInt, checked
from forwardforward.classifiers import SumOverLayers
from forwardforward.data import Mixup
from forwardforward.goodness import HiddenProjection, LearnedProjection
from forwardforward.losses import BinaryCrossEntropy, OrdinalCrossEntropy, SimilarityMatching
from forwardforward.lr_schedules import Cooldown
from forwardforward.normalization import BatchNorm, RMSNorm
from forwardforward.objectives import BatchObjective, ClassObjective, Objective, SimilarityEmbedding
from forwardforward.recipes.architectures import Dense
from forwardforward.recipes.per_class import MONO
from forwardforward.recipes.recipe import Recipe, derive
from forwardforward.targets import MultiLabel, TargetKind

__all__ = ["RECIPES", "LabelPredSim"]

MONO_MIXUP = derive(
    MONO,
    name="mono-mixup",
    summary="mono on images and labels that are mixed in pairs",
    source="Mono-Forward, arXiv 2501.09238, with mixup, arXiv 1710.09412",
    augment=Mixup(0.2),
)


@checked
@dataclass(frozen=True)
class LabelPredSim:
    """Each label's goodness against a threshold, from a hidden layer, beside similarity matching of the rows of labels.

    Args:
        hidden: Hidden units of the goodness.
        similarity: Factor on similarity matching.

    Source: Nøkland and Eidnes, Training Neural Networks with Local Error Signals (ICML 2019), arXiv 1901.06656, for
    several labels per sample; the hidden layer as in Belilovsky et al. (ICML 2020), arXiv 1901.08164.

    Example:
        >>> type(LabelPredSim()(num_classes=10, layer=0)).__name__
        'SumObjective'
    """

    target_kind: ClassVar[TargetKind] = MultiLabel()

    hidden: PositiveInt = 200
    similarity: NonNegativeFloat = 3.0

    @checked
    def __call__(self, num_classes: NumClasses, layer: NonNegativeInt) -> Objective:
        """Return the objective of a layer.

        Args:
            num_classes: Number of labels.
            layer: Index of the layer; the objectives of all layers are equal.
        """
        prediction = ClassObjective(HiddenProjection(num_classes, self.hidden), BinaryCrossEntropy())
        embedding = SimilarityEmbedding(self.hidden)
        matching = SimilarityMatching(num_classes)
        return prediction + BatchObjective(matching, embedding, self.similarity, self.target_kind)


MULTI_LABEL = derive(
    MONO,
    name="multi-label",
    summary="dense network for any number of labels per sample, a threshold per label and similarity matching",
    source="local error signals, arXiv 1901.06656, for several labels, with Hinton's threshold for each label",
    architecture=Dense(input_dropout=0.2, dropout=0.1),
    goodness=None,
    loss=None,
    objective=LabelPredSim(),
    normalization=BatchNorm(affine=True),
    lr=1e-2,
    epochs=60,
    batch_size=50,
    data_settings={"digit-pairs": {"widths": (300, 300, 300)}},
)

ORDINAL = Recipe(
    name="ordinal",
    summary="dense network for regression, cross-entropy of 30 ordered bins in every layer",
    source="after the ordinal goodness of FFR (2026), arXiv 2606.03927",
    widths=(100, 100, 100),
    goodness=LearnedProjection(30),
    loss=OrdinalCrossEntropy(),
    normalization=RMSNorm(),
    classifier=SumOverLayers(slice(-1, None)),
    optimizer=torch.optim.Adam,
    lr=1e-3,
    lr_schedule=Cooldown(0.5),
    standardize=True,
    epochs=40,
    batch_size=50,
)

RECIPES = (MONO_MIXUP, MULTI_LABEL, ORDINAL)
