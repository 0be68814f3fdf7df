"""Texts: tokenization, word vectors, and representations that convert texts to inputs.

A *representation* is fitted to the texts of a :class:`~forwardforward.data.text.Corpus` and returns a
:class:`~forwardforward.data.text.TextEncoder`, which converts texts to inputs of one shape: means of word vectors, sets
of words and word pairs, or word sequences. A recipe names its representation.

    >>> corpus = Corpus(train=["A good film!", "A bad film."], test=[])
    >>> encoder = WordSequence(vocabulary=10, length=4)(corpus)
    >>> encoder(["Good, not bad"]).tolist()
    [[0, 4, 1, 6]]
"""

from forwardforward.data.text.corpus import Corpus
from forwardforward.data.text.features import MeanVectors
from forwardforward.data.text.ngrams import NGrams
from forwardforward.data.text.representation import Representation, TextEncoder
from forwardforward.data.text.reviews import ReviewFolder, Texts
from forwardforward.data.text.sequences import WordSequence
from forwardforward.data.text.state import text_encoder_from_state
from forwardforward.data.text.tokens import Documents, Lexicon, tokenize
from forwardforward.data.text.vectors import WordVectors, read_vectors, write_vectors
from forwardforward.data.text.word2vec import Word2Vec

__all__ = [
    "Corpus",
    "Documents",
    "Lexicon",
    "MeanVectors",
    "NGrams",
    "Representation",
    "ReviewFolder",
    "TextEncoder",
    "Texts",
    "Word2Vec",
    "WordSequence",
    "WordVectors",
    "read_vectors",
    "text_encoder_from_state",
    "tokenize",
    "write_vectors",
]
