"""The container: layers, label encoder, negatives, head and preprocessing of one network."""

from forwardforward.sequential.container import FFSequential

__all__ = ["FFSequential"]
