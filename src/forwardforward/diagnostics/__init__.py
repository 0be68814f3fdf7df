"""Diagnostics: what a history and a trained network show, in numbers and pictures.

Pictures need matplotlib and leave its global state alone.
"""

from forwardforward.diagnostics.distributions import goodness_distributions
from forwardforward.diagnostics.panels import curves
from forwardforward.diagnostics.probes import layer_errors, probe

__all__ = ["curves", "goodness_distributions", "layer_errors", "probe"]
