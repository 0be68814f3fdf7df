"""Networks with local objectives from modules that were written for backpropagation, such as torchvision's models."""

from forwardforward.stages.conversion import from_module

__all__ = ["from_module"]
