"""Replicas: networks of one architecture that are trained together, as one batched computation.

Every member has its own weights, order of samples, negatives and dropout, and ends up with the weights of a training by
itself, within rounding. The parameters of all members are stacked (:func:`torch.func.stack_module_state`), the step of
one member is a pure function of its state, and :func:`torch.vmap` computes it for all members at once. Small layers,
whose products do not keep a machine busy, are trained several times faster in this way.
"""

from forwardforward.replicas.make import replicate
from forwardforward.replicas.network import Measurement, Replicas
from forwardforward.replicas.optimizer import ReplicaOptimizer

__all__ = ["Measurement", "ReplicaOptimizer", "Replicas", "replicate"]
