"""Networks with local objectives from modules that were written for backpropagation, such as torchvision's models."""

from forwardforward.stages.from_module import from_module

__all__ = ["from_module"]
