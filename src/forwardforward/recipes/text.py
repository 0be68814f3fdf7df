"""Networks that read texts, on IMDb's film reviews."""

from __future__ import annotations

from functools import partial

import torch

from forwardforward.baselines import Backpropagation
from forwardforward.classifiers import LinearHead
from forwardforward.data.text import MeanVectors, NGrams, WordSequence
from forwardforward.goodness import LearnedProjection, MeanOfSquares, SumOfSquares
from forwardforward.label_encoders import Concatenation
from forwardforward.losses import CrossEntropy, Pyramidal, SymBa, Threshold
from forwardforward.lr_schedules import Cooldown
from forwardforward.negatives import RandomLabel
from forwardforward.normalization import RMSNorm
from forwardforward.pooling import SequencePool
from forwardforward.recipes.architectures import EntryBag, WordConvolutions
from forwardforward.recipes.recipe import Recipe

__all__ = ["RECIPES"]

VECTORS = MeanVectors(weighting="tfidf")
NGRAMS = NGrams(vocabulary=200_000, longest=2, length=512)
SEQUENCE = WordSequence(vocabulary=30_000, length=256)

IMDB_SYMBA = Recipe(
    name="imdb-symba",
    summary="mean word vectors with the label behind them, symmetric loss, linear head beside",
    source="Gandhi et al. (2023), arXiv 2307.04205, with the loss of SymBa (arXiv 2303.08418)",
    widths=(2000, 2000, 2000, 2000),
    goodness=MeanOfSquares(),
    loss=SymBa(alpha=4.0),
    normalization=RMSNorm(),
    label_encoder=partial(Concatenation, scale=5.0),
    negatives=RandomLabel(),
    head=LinearHead,
    optimizer=torch.optim.Adam,
    lr=1e-3,
    options={"fused": True},
    lr_schedule=Cooldown(0.5),
    representation=VECTORS,
    standardize=True,
    epochs=6,
    batch_size=100,
)

IMDB_THRESHOLD = IMDB_SYMBA.replace(
    name="imdb-threshold",
    summary="mean word vectors with the label behind them, thresholds that grow with depth, linear head beside",
    source="Gandhi et al., Extending the Forward Forward Algorithm (2023), arXiv 2307.04205",
    goodness=SumOfSquares(),
    loss=Threshold(theta=Pyramidal(0.4)),
)

IMDB_MONO = Recipe(
    name="imdb-mono",
    summary="mean word vectors, per-class goodness by a learned projection in every layer",
    source="the objective of Mono-Forward (arXiv 2501.09238) on the input of arXiv 2307.04205",
    widths=(500, 500),
    goodness=LearnedProjection,
    loss=CrossEntropy(),
    normalization=RMSNorm(),
    optimizer=torch.optim.Adam,
    lr=1e-3,
    options={"fused": True},
    lr_schedule=Cooldown(0.5),
    representation=VECTORS,
    standardize=True,
    epochs=6,
    batch_size=100,
)

IMDB_BAG = IMDB_MONO.replace(
    name="imdb-bag",
    summary="a bag of embedded words and word pairs, then dense layers, per-class goodness in every layer",
    source="the input of fastText (arXiv 1607.01759) and the objective of Mono-Forward (arXiv 2501.09238)",
    architecture=EntryBag(entries=NGRAMS.entries, drop=0.3, std=0.1),
    widths=(32, 200),
    lr=5e-3,
    representation=NGRAMS,
    standardize=False,
    epochs=4,
)

IMDB_SEQUENCE = IMDB_MONO.replace(
    name="imdb-sequence",
    summary="words in their order: an embedding, then convolutions, per-class goodness in every layer",
    source="the objective of Mono-Forward (arXiv 2501.09238) on convolutions over words (Kim 2014, arXiv 1408.5882)",
    architecture=WordConvolutions(entries=SEQUENCE.entries, std=0.1),
    widths=(64, 128, 128),
    goodness=partial(LearnedProjection, pool=SequencePool(1, "max")),
    representation=SEQUENCE,
    standardize=False,
)

IMDB_BACKPROP = IMDB_SYMBA.replace(
    name="imdb-backprop",
    summary="baseline: mean word vectors, the network of imdb-symba trained end to end by cross-entropy",
    source="backpropagation",
    goodness=None,
    loss=None,
    label_encoder=None,
    negatives=None,
    head=None,
    baseline=Backpropagation,
)

IMDB_BAG_BACKPROP = IMDB_BAG.replace(
    name="imdb-bag-backprop",
    summary="baseline: the network of imdb-bag trained end to end by cross-entropy",
    source="backpropagation",
    goodness=None,
    loss=None,
    baseline=Backpropagation,
)

RECIPES = (IMDB_SYMBA, IMDB_THRESHOLD, IMDB_MONO, IMDB_BAG, IMDB_SEQUENCE, IMDB_BACKPROP, IMDB_BAG_BACKPROP)
