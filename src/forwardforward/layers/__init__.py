"""Layers: any block with a local objective."""

from forwardforward.layers.conv import FFConv2d
from forwardforward.layers.defaults import Defaults
from forwardforward.layers.embedding import FFEmbedding, FFEmbeddingBag
from forwardforward.layers.label import CarryLabel
from forwardforward.layers.layer import NORMALIZE_FIRST, TRANSFORM_FIRST, FFLayer, LayerOutput
from forwardforward.layers.linear import FFLinear
from forwardforward.layers.local import LocallyConnected2d
from forwardforward.layers.pool import MaxPool2d
from forwardforward.layers.skip import Residual, SkipConnection

__all__ = [
    "NORMALIZE_FIRST",
    "TRANSFORM_FIRST",
    "CarryLabel",
    "Defaults",
    "FFConv2d",
    "FFEmbedding",
    "FFEmbeddingBag",
    "FFLayer",
    "FFLinear",
    "LayerOutput",
    "LocallyConnected2d",
    "MaxPool2d",
    "Residual",
    "SkipConnection",
]
