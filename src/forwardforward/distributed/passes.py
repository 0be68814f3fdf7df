"""Passes of a pipeline in evaluation mode, each process through its own layers."""

from __future__ import annotations

import torch
from torch import Tensor

from forwardforward._utils.checks import check_finite
from forwardforward.batches import LabeledInput
from forwardforward.distributed.ranks import Ranks
from forwardforward.distributed.stream import Packet, Stream
from forwardforward.heads import LinearHead
from forwardforward.layers.chain import skip_tensors
from forwardforward.sequential import FFSequential

__all__ = ["Passes"]


class Passes:
    """Passes in evaluation mode; results are in the last process, and each process sends to the next one.

    Args:
        ranks: The processes.
        layers: The layers of this process.
    """

    def __init__(self, ranks: Ranks, layers: range) -> None:
        self._ranks = ranks
        self._own = layers
        self._is_first = ranks.rank == 0
        self._is_last = ranks.rank == ranks.size - 1
        self._stream = Stream(ranks, tag=2, kind="activations in evaluation mode")

    def goodness(self, network: FFSequential, images: Tensor) -> tuple[Tensor, Packet] | None:
        """Return the goodness ``(batch, layers, classes)`` and all results, in the last process.

        Args:
            network: The network.
            images: Prepared images; ignored in other processes than the first.
        """
        encoder = network.label_encoder
        packet = self.run(network, encoder.candidates(images) if encoder is not None and self._is_first else images)
        if packet is None:
            return None
        stacked = torch.stack([value for _, value in sorted(packet.goodness.items())])
        if encoder is None:
            return stacked.transpose(0, 1), packet
        return stacked.view(len(stacked), encoder.num_classes, -1).permute(2, 0, 1), packet

    def head_features(
        self, network: FFSequential, head: LinearHead, images: Tensor, generator: torch.Generator | None
    ) -> Tensor | None:
        """Return the features that the head reads under a label without information, in the last process.

        Args:
            network: The network.
            head: Its head.
            images: Prepared images; ignored in other processes than the first.
            generator: Draws random labels.
        """
        x: Tensor | LabeledInput | None = images
        encoder = network.label_encoder
        if self._is_first and encoder is not None:
            labels = network.scorer.head_labels(images, generator)
            x = encoder.neutral(images) if labels is None else encoder.join(images, labels)
        packet = self.run(network, x, with_goodness=False)
        return None if packet is None else head.read(packet.rows)

    def classify(self, network: FFSequential, images: Tensor) -> tuple[Tensor | None, Tensor | None] | None:
        """Return goodness and logits of prepared images in the last process, None in the others.

        Args:
            network: The network.
            images: Prepared images; ignored in other processes than the first.
        """
        head = network.head
        result = self.goodness(network, images) if network.layers_classify else None
        features: Tensor | None = None
        if head is not None and (network.label_encoder is not None or not network.layers_classify):
            generator = torch.Generator(self._ranks.device).manual_seed(0)
            features = self.head_features(network, head, images, generator)
        elif head is not None and result is not None:
            features = head.read(result[1].rows)
        if not self._is_last:
            return None
        logits = None if head is None or features is None else check_finite(head(features))
        return None if result is None else check_finite(result[0]), logits

    def run(self, network: FFSequential, x: Tensor | LabeledInput | None, with_goodness: bool = True) -> Packet | None:
        """Run the own layers in evaluation mode, and return the result in the last process.

        Args:
            network: The network.
            x: Input of the first layer; ignored in other processes.
            with_goodness: Whether to compute the goodness of each layer.
        """
        packet = Packet(None, {}, {}, {})
        if not self._is_first:
            packet = self._stream.receive(self._ranks.rank - 1)
            x = packet.output
        assert x is not None
        head = network.head
        observed = () if head is None else head.indices(len(network))
        skips = skip_tensors(network.stack)
        skips.outputs.update(packet.skips)
        rows, goodness = dict(packet.rows), dict(packet.goodness)
        for index in self._own:
            layer = network.stack[index]
            if with_goodness:
                x, value = layer.output_and_goodness(x, skips.get(index))
                if value is not None:
                    goodness[index] = value
            else:
                x = layer(x, skip=skips.get(index))
            assert isinstance(x, Tensor)
            skips.store(index, x)
            if head is not None and index in observed:
                rows[index] = head.rows(x)
        assert isinstance(x, Tensor)
        packet = Packet(x, skips.outputs, rows, goodness)
        if self._is_last:
            return packet
        self._stream.send(packet, self._ranks.rank + 1)
        return None

    def flush(self) -> None:
        """Wait until all packets are received."""
        self._stream.flush()
