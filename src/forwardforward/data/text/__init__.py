"""Texts: reviews from folders, words, word vectors, and what a network reads of a text.

A *representation* learns from the texts of a :class:`~forwardforward.data.text.Corpus` how texts become inputs of one
shape: means of word vectors, sets of words and word pairs, or sequences of words. A recipe names the one that it reads.

    >>> corpus = Corpus(train=["A good film!", "A bad film."], test=[])
    >>> encode = WordSequence(vocabulary=10, length=4)(corpus)
    >>> encode(["Good, not bad"]).tolist()
    [[0, 4, 1, 6]]
"""

from forwardforward.data.text.corpus import Corpus, Encoder, Representation
from forwardforward.data.text.features import MeanVectors
from forwardforward.data.text.ngrams import NGrams
from forwardforward.data.text.reviews import ReviewFolder, Texts
from forwardforward.data.text.sequences import WordSequence
from forwardforward.data.text.tokens import Documents, Lexicon, tokenize
from forwardforward.data.text.vectors import Word2Vec, WordVectors, read_vectors, write_vectors

__all__ = [
    "Corpus",
    "Documents",
    "Encoder",
    "Lexicon",
    "MeanVectors",
    "NGrams",
    "Representation",
    "ReviewFolder",
    "Texts",
    "Word2Vec",
    "WordSequence",
    "WordVectors",
    "read_vectors",
    "tokenize",
    "write_vectors",
]
