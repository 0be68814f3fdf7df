"""Diagnostics: measurements and plots of histories and trained networks.

Plots need matplotlib and do not change its global state.
"""

from forwardforward.diagnostics.diagnosis import diagnose
from forwardforward.diagnostics.distributions import goodness_distributions
from forwardforward.diagnostics.findings import Finding
from forwardforward.diagnostics.maps import grad_cam
from forwardforward.diagnostics.panels import curves
from forwardforward.diagnostics.probes import layer_errors, probe

__all__ = [
    "Finding",
    "curves",
    "diagnose",
    "goodness_distributions",
    "grad_cam",
    "layer_errors",
    "probe",
]
