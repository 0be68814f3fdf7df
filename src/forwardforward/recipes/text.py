"""Networks on texts: the film reviews of IMDb."""

from __future__ import annotations

from functools import partial

import torch

from forwardforward.baselines import Backpropagation
from forwardforward.data.text import MeanVectors, NGrams, WordSequence
from forwardforward.goodness import LearnedProjection, MeanOfSquares, SumOfSquares
from forwardforward.heads import LinearHead
from forwardforward.label_encoders import Concatenation
from forwardforward.losses import CrossEntropy, Pyramidal, SymBa, Threshold
from forwardforward.lr_schedules import Cooldown
from forwardforward.negatives import RandomLabel
from forwardforward.normalization import RMSNorm
from forwardforward.pooling import SequencePool
from forwardforward.recipes.architectures import BagOfWords, WordConvolutions
from forwardforward.recipes.recipe import Recipe, derive

__all__ = ["RECIPES"]

VECTORS = MeanVectors(weighting="tfidf")
NGRAMS = NGrams(vocabulary=200_000, longest=2, length=512)
TRIGRAMS = NGrams(vocabulary=500_000, longest=3, length=1024)
SEQUENCE = WordSequence(vocabulary=30_000, length=256)


def _end_to_end(recipe: Recipe) -> Recipe:
    """Return the baseline that trains the network of a recipe by backpropagation."""
    return derive(
        recipe,
        name=f"{recipe.name}-backprop",
        summary=f"baseline: the network of {recipe.name} trained end to end with cross-entropy",
        source="backpropagation",
        goodness=None,
        loss=None,
        baseline=Backpropagation,
    )


IMDB_SYMBA = Recipe(
    name="imdb-symba",
    summary="mean word vectors with the label appended, symmetric loss, plus a linear head",
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
    optimizer_options={"fused": True},
    lr_schedule=Cooldown(0.5),
    representation=VECTORS,
    standardize=True,
    epochs=6,
    batch_size=100,
)

IMDB_THRESHOLD = derive(
    IMDB_SYMBA,
    name="imdb-threshold",
    summary="mean word vectors with the label appended, thresholds that grow with depth, plus a linear head",
    source="Gandhi et al., Extending the Forward Forward Algorithm (2023), arXiv 2307.04205",
    goodness=SumOfSquares(),
    loss=Threshold(theta=Pyramidal(0.4)),
)

IMDB_MONO = Recipe(
    name="imdb-mono",
    summary="mean word vectors, learned projection to the classes in every layer",
    source="the objective of Mono-Forward (arXiv 2501.09238) on the input of arXiv 2307.04205",
    widths=(500, 500),
    goodness=LearnedProjection,
    loss=CrossEntropy(),
    normalization=RMSNorm(),
    optimizer=torch.optim.Adam,
    lr=1e-3,
    optimizer_options={"fused": True},
    lr_schedule=Cooldown(0.5),
    representation=VECTORS,
    standardize=True,
    epochs=6,
    batch_size=100,
)

IMDB_BAG = derive(
    IMDB_MONO,
    name="imdb-bag",
    summary="mean of word and word pair embeddings, dense layers, learned projection to the classes in every layer",
    source="the input of fastText (arXiv 1607.01759) and the objective of Mono-Forward (arXiv 2501.09238)",
    architecture=BagOfWords(num_embeddings=NGRAMS.num_embeddings, dropout=0.3, init_std=0.1),
    widths=(32, 200),
    lr=5e-3,
    representation=NGRAMS,
    standardize=False,
    epochs=4,
)

IMDB_TRIGRAMS = derive(
    IMDB_BAG,
    name="imdb-trigrams",
    summary="imdb-bag with word triples, and with fixed weights of the n-grams from their counts in the classes",
    source="imdb-bag with the log-count ratios of Wang and Manning (ACL 2012) as fixed weights",
    architecture=BagOfWords(
        num_embeddings=TRIGRAMS.num_embeddings, dropout=0.3, init_std=0.1, weighting="log-count-ratio"
    ),
    representation=TRIGRAMS,
)

IMDB_TRIGRAMS_BACKPROP = _end_to_end(IMDB_TRIGRAMS)

IMDB_SEQUENCE = derive(
    IMDB_MONO,
    name="imdb-sequence",
    summary="word embeddings in their order, convolutions, learned projection to the classes in every layer",
    source="the objective of Mono-Forward (arXiv 2501.09238) on convolutions over words (Kim 2014, arXiv 1408.5882)",
    architecture=WordConvolutions(num_embeddings=SEQUENCE.num_embeddings, init_std=0.1),
    widths=(64, 128, 128),
    goodness=partial(LearnedProjection, pool=SequencePool(1, "max")),
    representation=SEQUENCE,
    standardize=False,
)

IMDB_BACKPROP = derive(
    IMDB_SYMBA,
    name="imdb-backprop",
    summary="baseline: the network of imdb-symba without labels in the input, trained end to end with cross-entropy",
    source="backpropagation",
    goodness=None,
    loss=None,
    label_encoder=None,
    negatives=None,
    head=None,
    baseline=Backpropagation,
)

IMDB_BAG_BACKPROP = _end_to_end(IMDB_BAG)

RECIPES = (
    IMDB_SYMBA, IMDB_THRESHOLD, IMDB_MONO, IMDB_BAG, IMDB_TRIGRAMS, IMDB_SEQUENCE, IMDB_BACKPROP, IMDB_BAG_BACKPROP,
    IMDB_TRIGRAMS_BACKPROP,
)  # fmt: skip
