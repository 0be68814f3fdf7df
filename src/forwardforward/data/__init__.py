"""Data sets as tensors, their fixed splits, and where they come from."""

from forwardforward.data.sources import available, load
from forwardforward.data.splits import Splits, split
from forwardforward.data.tensors import TensorData

__all__ = ["Splits", "TensorData", "available", "load", "split"]
