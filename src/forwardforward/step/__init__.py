"""The local training step, as a function of layers, batch and groups, in two forms with equal results.

*Layerwise* (:class:`LayerwiseStep`): the layers of one group run forward, backward and their update, and their graph is
freed before the next layer runs. Memory does not grow with depth.

*Whole* (:class:`WholeStep`): one pure function from parameters, buffers and batch to gradients, new buffers and local
losses of all layers, composed of :mod:`torch.func` transforms. ``torch.compile(fullgraph=True)`` compiles it as one
graph. A graph is freed after the last group that contains its layer, as in the layerwise form; compiled, the whole
graph is scheduled at once. The update is part of the compiled function for :class:`torch.optim.SGD` without dampening,
:class:`torch.optim.Adam`, :class:`torch.optim.AdamW` and :class:`~forwardforward.optimizers.SmoothedSGD`, each without
hooks. The step of another optimizer, or of a network with a learned label encoder, follows the function.

In both forms every layer runs once per step, also if groups overlap, so buffers are updated once and random numbers
drawn once; and every layer reads the outputs of the layers before from before their update.

:class:`MicroBatches` computes the gradients of either form in parts of the batch, for one update.
"""

from forwardforward.step.layerwise import LayerwiseStep
from forwardforward.step.micro_batches import MicroBatches
from forwardforward.step.share import Reduction, Share
from forwardforward.step.stack import Stack, StepResult, check_groups, gradient_norm
from forwardforward.step.whole import CompilationError, Gradients, RecordingError, WholeStep

__all__ = [
    "CompilationError",
    "Gradients",
    "LayerwiseStep",
    "MicroBatches",
    "RecordingError",
    "Reduction",
    "Share",
    "Stack",
    "StepResult",
    "WholeStep",
    "check_groups",
    "gradient_norm",
]
