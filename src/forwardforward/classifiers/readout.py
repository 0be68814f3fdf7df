"""A linear classifier on the goodness of all layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from forwardforward._utils.arguments import NumClasses, PositiveInt, checked
from forwardforward._utils.memory import check_memory
from forwardforward.classifiers.checks import check_fit
from forwardforward.classifiers.sums import standardize


@checked
class GoodnessReadout(nn.Module):
    """A linear classifier on the goodness of all layers for all classes.

    Pass it as ``FFSequential(..., classifier=...)``, train the network, then call :meth:`fit` with the goodness of
    training data: ``model.classifier.fit(model.layer_goodness(images), labels)``.

    Args:
        num_classes: Number of classes.
        depth: Number of layers of the network.

    Example:
        >>> goodness = torch.rand(20, 3, 2)
        >>> GoodnessReadout(2, depth=3).fit(goodness, torch.arange(20) % 2)(goodness).shape
        torch.Size([20, 2])
    """

    def __init__(self, num_classes: NumClasses, depth: PositiveInt) -> None:
        super().__init__()
        self.depth, self.num_classes = depth, num_classes
        check_memory("num_classes and depth", num_classes, depth * num_classes)
        self.linear = nn.Linear(depth * num_classes, num_classes)
        with torch.no_grad():  # initially the sum over the layers
            self.linear.weight.copy_(torch.eye(num_classes).repeat(1, depth))
            self.linear.bias.zero_()

    def forward(self, goodness: Tensor) -> Tensor:
        """Return logits, ``(batch, classes)``.

        Args:
            goodness: ``(batch, layers, classes)``.

        Raises:
            ValueError: If the network has another number of layers or classes.
        """
        self._check_shape(goodness)
        logits: Tensor = self.linear(standardize(goodness).flatten(1).to(self.linear.weight.dtype))
        return logits

    def _check_shape(self, goodness: Tensor) -> None:
        if goodness.dim() != 3 or goodness.shape[1:] != (self.depth, self.num_classes):
            raise ValueError(
                f"goodness must be (batch, {self.depth}, {self.num_classes}) for GoodnessReadout(num_classes="
                f"{self.num_classes}, depth={self.depth}), got shape {tuple(goodness.shape)}"
            )

    @checked
    def fit(self, goodness: Tensor, labels: Tensor, steps: PositiveInt = 50) -> GoodnessReadout:
        """Train the classifier by cross-entropy, and return it.

        Args:
            goodness: Goodness of training samples, ``(batch, layers, classes)``.
            labels: Their classes, ``(batch,)``.
            steps: Number of iterations of L-BFGS over all samples.

        Raises:
            TypeError: If the labels are not of an integer type.
            ValueError: If the goodness is not finite or of another network, or there is not one label of each sample
                in range.
        """
        self._check_shape(goodness)
        check_fit("goodness", goodness, labels)
        optimizer = torch.optim.LBFGS(self.parameters(), max_iter=steps, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(self(goodness), labels.long())
            loss.backward()
            return loss

        optimizer.step(closure)
        return self
