"""Sums over layers that are chosen, or weighted, by validation data."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from forwardforward._utils.arguments import PositiveInt, checked
from forwardforward.classifiers.checks import check_fit, check_goodness

#: Factor on the squared logarithms of fitted weights.
PENALTY = 1e-4

#: Differences between classes of at most this many units in the last place are rounding.
ROUNDING = 8


class BestInterval(nn.Module):
    """The goodness summed over the run of layers with the smallest error on validation data.

    ``fit(..., validation=...)`` chooses the layers after every epoch; before that, all layers count. The choice is a
    buffer.

    Source: the selected-interval prediction (SIP) of Sun et al., DeeperForward (ICLR 2025).

    Example:
        >>> classifier = BestInterval()
        >>> classifier.choose(torch.tensor([[[5.0, 0.0], [0.0, 1.0]]]), torch.tensor([1]))
        >>> classifier.layers
        slice(1, 2, None)
    """

    bounds: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("bounds", torch.tensor([0, torch.iinfo(torch.int64).max]))

    @property
    def layers(self) -> slice:
        """The chosen layers."""
        start, stop = self.bounds.tolist()
        return slice(start, stop)

    def forward(self, goodness: Tensor) -> Tensor:
        """Return the goodness summed over the chosen layers, ``(batch, classes)``.

        Args:
            goodness: ``(batch, layers, classes)``.
        """
        check_goodness(goodness)
        return goodness[:, self.layers].sum(1)

    def choose(self, goodness: Tensor, labels: Tensor) -> None:
        """Choose the layers; of equally good runs, the shortest.

        Args:
            goodness: Goodness of samples that the layers were not trained on, ``(batch, layers, classes)``.
            labels: Their classes, ``(batch,)``.
        """
        check_fit("goodness", goodness, labels)
        depth = goodness.shape[1]
        sums = nn.functional.pad(goodness.double().cumsum(1), (0, 0, 1, 0))
        runs = [(stop - start, start, stop) for start in range(depth) for stop in range(start + 1, depth + 1)]
        wrong = {run: int(((sums[:, run[2]] - sums[:, run[1]]).argmax(1) != labels).sum()) for run in sorted(runs)}
        _, start, stop = min(wrong, key=lambda run: wrong[run])
        self.bounds.copy_(torch.tensor([start, stop], device=self.bounds.device))


@checked
class WeightedSum(nn.Module):
    r"""The goodness of the layers, each times a weight that is fitted to validation data.

    .. math:: s_k = \sum_l w_l \, g_{lk}, \qquad w_l \ge 0

    ``fit(..., validation=...)`` fits the weights after every epoch, see :func:`fit_weights`; before that, all are 1.
    For goodness that are logits, as those of class objectives with cross-entropy, the scores are a weighted geometric
    mean of the layers' probabilities, whose confidence is that of the validation data. The weights are a buffer.

    Args:
        depth: Number of layers of the network.

    Example:
        >>> classifier = WeightedSum(depth=2)
        >>> goodness = torch.tensor([[[5.0, 0.0], [0.0, 1.0]], [[5.0, 0.0], [1.0, 0.0]]])
        >>> classifier.choose(goodness, torch.tensor([1, 0]))
        >>> bool(classifier.weights[0] < classifier.weights[1])
        True
    """

    weights: Tensor

    def __init__(self, depth: PositiveInt) -> None:
        super().__init__()
        self.depth = depth
        self.register_buffer("weights", torch.ones(depth))

    def forward(self, goodness: Tensor) -> Tensor:
        """Return the weighted sum, ``(batch, classes)``.

        Args:
            goodness: ``(batch, layers, classes)``.

        Raises:
            ValueError: If the network has another number of layers.
        """
        self._check_depth(goodness)
        return weighted_sum(goodness, self.weights.to(goodness.dtype))

    def choose(self, goodness: Tensor, labels: Tensor) -> None:
        """Fit the weights.

        Args:
            goodness: Goodness of samples that the layers were not trained on, ``(batch, layers, classes)``.
            labels: Their classes, ``(batch,)``.

        Raises:
            ValueError: If the network has another number of layers.
        """
        self._check_depth(goodness)
        self.weights.copy_(fit_weights(goodness, labels))

    def _check_depth(self, goodness: Tensor) -> None:
        if goodness.dim() != 3 or goodness.shape[1] != self.depth:
            raise ValueError(
                f"goodness must be (batch, {self.depth}, classes) for WeightedSum(depth={self.depth}), got shape "
                f"{tuple(goodness.shape)}"
            )

    def extra_repr(self) -> str:
        """Return the constructor's argument."""
        return f"depth={self.depth}"


def weighted_sum(scores: Tensor, weights: Tensor) -> Tensor:
    """Return the sum of scores ``(batch, parts, classes)``, each times its weight, ``(batch, classes)``.

    Args:
        scores: Scores.
        weights: ``(parts,)``.
    """
    return (scores * weights[:, None]).sum(1)


@checked
def fit_weights(scores: Tensor, labels: Tensor, steps: PositiveInt = 100) -> Tensor:
    r"""Return the weights of several scores whose weighted sum has the smallest cross-entropy, ``(parts,)``.

    .. math:: \min_{w \ge 0} \; \mathrm{mean}_i
              \left( -\log \mathrm{softmax}(\textstyle\sum_m w_m s_{im})_{y_i} \right)
              + 10^{-4} \sum_m \left( \log w_m \sigma_m \right)^2

    with the root mean square :math:`\sigma_m` of the scores over the classes, less their mean: the unit of a score has
    no effect on the sum. The second term keeps the weights finite if all samples are classified correctly. The minimum
    is found by L-BFGS over the logarithms of the weights, in double precision. A score that is the same for all classes
    of every sample, within rounding, decides nothing and has the weight 0; if all are, the weights are 1.

    Args:
        scores: Scores of several classifiers, such as layers or networks, ``(batch, parts, classes)``.
        labels: Classes, ``(batch,)``.
        steps: Number of iterations over all samples.

    Raises:
        ValueError: If the scores are not finite, or there is not one label of each sample in range.

    Example:
        >>> scores = torch.tensor([[[2.0, 0.0], [0.0, 1.0]], [[2.0, 0.0], [0.0, 3.0]]])
        >>> weights = fit_weights(scores, torch.tensor([1, 1]))
        >>> bool(weights[0] < weights[1])
        True
    """
    check_fit("scores", scores, labels)
    values = scores.double()
    centered = values - values.mean(2, keepdim=True)
    unit = centered.square().mean((0, 2)).sqrt()
    decides = unit > ROUNDING * torch.finfo(scores.dtype).eps * values.square().mean((0, 2)).sqrt()
    if not decides.any():
        return torch.ones_like(scores[0, :, 0])
    unit = unit[decides]
    weights = values.new_zeros(scores.shape[1])
    weights[decides] = _best_weights(centered[:, decides] / unit[:, None], labels, steps) / unit
    return weights.to(scores.dtype)


def _best_weights(scores: Tensor, labels: Tensor, steps: int) -> Tensor:
    """Return the weights of scores with a root mean square of 1, see :func:`fit_weights`."""
    with torch.inference_mode(False), torch.enable_grad():
        scores, labels = scores.clone(), labels.clone()  # gradients cannot be computed of tensors of inference mode
        logarithms = torch.zeros(scores.shape[1], dtype=torch.float64, device=scores.device, requires_grad=True)
        optimizer = torch.optim.LBFGS([logarithms], max_iter=steps, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(weighted_sum(scores, logarithms.exp()), labels.long())
            loss = loss + PENALTY * logarithms.square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)
    return logarithms.detach().exp()
