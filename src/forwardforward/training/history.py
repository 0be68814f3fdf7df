"""The history of a training, epoch by epoch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from forwardforward._utils.arguments import StrPath, checked
from forwardforward._utils.files import replacing
from forwardforward.targets.kind import measured

__all__ = ["History"]


class History:
    """The records of a training's epochs, each a dictionary that JSON can represent.

    A record has ``epoch`` (from 1), ``seconds``, ``steps``, ``layers`` (one entry per layer, None for one that was not
    updated: ``loss``, ``positive``, ``negative``, ``separation``, ``accuracy``, ``gradient_norm``, ``largest_weight``,
    ``learning_rate``, ``parts``, the terms of a summed loss by name, ``thresholds`` of the loss for positive and
    negative samples, ``scale`` of the goodness, ``chance``, the accuracy of a guess, ``dead_units``, the share of units
    with the same activation for 128 training samples, and ``weight_change``, that of the weights in the epoch relative
    to their size), ``head`` (``loss``, ``accuracy`` and ``learning_rate`` of the one-pass head, of a baseline those of
    the network, with the largest ``weight_change`` of a layer, or None; no accuracy for real values), ``chance_error``
    (the error of the best answer that is the same for every sample, in the unit of the validation's; None if unknown)
    and ``validation`` (see :class:`~forwardforward.training.Evaluation`, or None).
    ``positive``, ``negative``, ``separation``, ``thresholds`` and ``scale`` are in units of goodness. Accuracies of the
    training are shares from 0 to 1, those of the validation percent; the validation's ``metric`` and ``unit`` name its
    error. Figures of :class:`~forwardforward.Replicas` are means over the members, whose own are in ``members``.

    Args:
        epochs: Records to begin with.

    Example:
        >>> History([{"epoch": 1, "seconds": 2.0, "layers": [], "head": None, "validation": None}]).seconds
        2.0
    """

    @checked
    def __init__(self, epochs: Sequence[Mapping[str, Any]] | None = None) -> None:
        self.epochs: list[dict[str, Any]] = [dict(record) for record in epochs or []]

    def __len__(self) -> int:
        """Return the number of epochs."""
        return len(self.epochs)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return the record of one epoch, counted from 0."""
        return self.epochs[index]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Iterate over the records."""
        return iter(self.epochs)

    @property
    def members(self) -> list[History]:
        """The history of each member of :class:`~forwardforward.Replicas`; empty for a network."""
        count = max((len(record.get("members", ())) for record in self), default=0)
        names = ("epoch", "seconds", "steps", "chance_error")
        shared = [{name: record[name] for name in names if name in record} for record in self]
        return [
            History([{**figures, **record["members"][i]} for figures, record in zip(shared, self, strict=True)])
            for i in range(count)
        ]

    @checked
    def layer(self, index: int, key: str) -> list[float | None]:
        """Return one figure of one layer over the epochs, None for epochs without it.

        Args:
            index: Index of the layer, from 0; negative indices count from the end.
            key: Such as ``"separation"``.
        """
        depth = max((len(record["layers"]) for record in self), default=0)
        layer = index + depth if index < 0 else index  # layers that were appended later are missing in early epochs
        records = [record["layers"][layer] if layer < len(record["layers"]) else None for record in self]
        return _figures(records, key)

    @checked
    def validation(self, key: str = "error") -> list[float | None]:
        """Return one figure of the validation data over the epochs, None for epochs without it.

        Args:
            key: A field of :class:`~forwardforward.training.Evaluation`.
        """
        return _figures([record["validation"] for record in self], key)

    @property
    def seconds(self) -> float:
        """Seconds of all epochs together."""
        return float(sum(record["seconds"] for record in self))

    @checked
    def to_jsonl(self, path: StrPath) -> None:
        """Write one line of JSON per epoch, all of them or none."""
        with replacing(path) as file:
            file.writelines(json.dumps(record) + "\n" for record in self)

    def __repr__(self) -> str:
        """Return the number of epochs and the last validation error."""
        last = self.epochs[-1].get("validation") if self.epochs else None
        error = "" if last is None else f", {validation_text(last)}"
        return f"<History of {len(self)} epochs{error}>"


def validation_text(record: Mapping[str, Any]) -> str:
    """Return the error of validation data as text.

    Args:
        record: The record of the validation data.
    """
    return f"validation {measured(record['error'], record.get('metric', 'error'), record.get('unit', '%'))}"


def numbers_of(record: Any, prefix: str = "") -> Iterator[tuple[str, float]]:
    """Iterate over the numbers of a record, with dotted names."""
    if isinstance(record, dict):
        items = [(str(key), value) for key, value in record.items()]
    elif isinstance(record, (list, tuple)):
        items = [(str(i), value) for i, value in enumerate(record)]
    else:
        if isinstance(record, (int, float)):
            yield prefix, record
        return
    for key, value in items:
        yield from numbers_of(value, f"{prefix}.{key}" if prefix else key)


def _figures(records: Sequence[Mapping[str, Any] | None], key: str) -> list[float | None]:
    names = dict.fromkeys(name for record in records if record is not None for name in record)
    if names and key not in names:
        raise ValueError(f"key must be one of {', '.join(names)}, got {key!r}")
    return [None if record is None else record[key] for record in records]
