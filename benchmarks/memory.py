"""How much memory a training step's activations take, against backpropagation's on the same network.

    python benchmarks/memory.py                      the Trifecta's deep network, 16 images of 3x32x32, float32

Counted are the tensors that a step makes and that are alive at once: weights, gradients, optimizer state and the
images are not. On a GPU the allocator's peak is measured too. Writes benchmarks/results/memory.json unless told
otherwise.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shlex
import sys
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import forwardforward as ff
from forwardforward._utils.options import Parser, bounded, several
from forwardforward.layers import NORMALIZE_FIRST, TRANSFORM_FIRST
from forwardforward.recipes.architectures import TRIFECTA_DEEP, Convolutions

CLASSES = 10
SIZE = 32
BOUNDS = {
    **dict.fromkeys(("class groups", "learned projection"), 0.5),
    **dict.fromkeys(("pair", "pair, overlapping", "pair, hard labels", "self-contrastive"), 0.9),
}


class Made(NamedTuple):
    """A storage that came into being while the meter ran."""

    bytes: int
    by: str
    shape: tuple[int, ...]


class Meter(TorchDispatchMode):
    """Keeps account of the storages that operations make, forward and backward, until they are freed.

    Attributes:
        made: Every storage, by number.
        events: Numbers in the order of their making (``+``) and freeing (``-``); the first is 1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[int, Made] = {}
        self.events: list[int] = []
        self._living: dict[int, tuple[Any, int]] = {}  # by address: weak reference and number
        self._apart: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and note what it made."""
        known = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in known and storage._cdata not in self._living:
                    self._note(storage, Made(storage.nbytes(), str(func), tuple(tensor.shape)))
        return result

    def _note(self, storage: torch.UntypedStorage, made: Made) -> None:
        address, number = storage._cdata, len(self.made) + 1
        self.made[number] = made
        self.events.append(number)

        def freed(_: Any) -> None:
            self.events.append(-number)
            del self._living[address]

        self._living[address] = (weakref.ref(storage, freed), number)

    def set_apart(self, tensor: torch.Tensor) -> None:
        """Leave a tensor out of the account, from its making on."""
        found = self._living.get(tensor.untyped_storage()._cdata)
        if found is not None:
            self._apart.add(found[1])

    def peak(self) -> tuple[int, list[Made]]:
        """Return the most bytes that were alive at once, and the storages of that moment, largest first."""
        now = most = 0
        alive: set[int] = set()
        then: set[int] = set()
        for event in self.events:
            if abs(event) in self._apart:
                continue
            if event > 0:
                now += self.made[event].bytes
                alive.add(event)
            else:
                now -= self.made[-event].bytes
                alive.remove(-event)
            if now > most:
                most, then = now, set(alive)
        return most, sorted((self.made[number] for number in then), reverse=True)


def activation_peak(model: torch.nn.Module, step: Callable[[], Any]) -> tuple[int, list[Made]]:
    """Return the peak of what one step makes, gradients of the parameters apart, and what it consists of."""
    step()  # the first one makes optimizers
    for parameter in model.parameters():
        parameter.grad = None
    meter = Meter()
    hooks = [
        p.register_post_accumulate_grad_hook(lambda p: meter.set_apart(p.grad)) for p in model.parameters()
    ]  # fmt: skip
    try:
        with meter:
            step()
    finally:
        for hook in hooks:
            hook.remove()
    return meter.peak()


def allocator_peak(model: torch.nn.Module, step: Callable[[], Any]) -> int:
    """Return by how much the GPU allocator's peak during a step is above what is allocated before it."""
    step()
    for parameter in model.parameters():  # gradients are allocated before, as they are not what is measured
        parameter.grad = None
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def convolutions(channels: int, widths: Sequence[int], pools: tuple[int, ...], order: tuple[str, ...]) -> Any:
    """Return the layers."""
    return Convolutions(pools=pools, order=order)((channels, SIZE, SIZE), widths, CLASSES)


class Plain(torch.nn.Sequential):
    """Backpropagation with torch's own modules: convolve, normalize, activate, pool; a linear layer behind."""

    def __init__(self, widths: Sequence[int], pools: tuple[int, ...]) -> None:
        modules: list[torch.nn.Module] = []
        for number, (before, channels) in enumerate(itertools.pairwise([3, *widths]), start=1):
            modules += [
                torch.nn.Conv2d(before, channels, 3, padding=1, bias=False),
                torch.nn.BatchNorm2d(channels, affine=False),
                torch.nn.ReLU(inplace=True),
            ]
            modules += [torch.nn.MaxPool2d(2)] if number in pools else []
        features = widths[-1] * (SIZE // 2 ** len(pools)) ** 2
        super().__init__(*modules, torch.nn.Flatten(), torch.nn.Linear(features, CLASSES))

    def parameter_groups(self) -> dict[str, torch.nn.Module]:
        """Return the network as the one thing that is updated."""
        return {"network": self}

    def step(self, batch: tuple[torch.Tensor, torch.Tensor], optimizer: ff.LocalOptimizer, groups: Any = None) -> None:
        """Update the network once."""
        optimizer.attach(self)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(self(batch[0]), batch[1]).backward()
        optimizer.step()


def models(widths: Sequence[int], pools: tuple[int, ...]) -> dict[str, tuple[torch.nn.Module, Any]]:
    """One model of each kind over convolutions of the same widths, and the groups that its step updates."""
    usual = {"widths": widths, "pools": pools, "order": TRANSFORM_FIRST}
    per_class = {"loss": ff.losses.CrossEntropy(), "normalization": ff.normalization.BatchNorm()}

    def pair(labelled: bool = True, **options: Any) -> ff.FFSequential:
        return ff.FFSequential(
            *convolutions(3 + labelled, widths, pools, NORMALIZE_FIRST),
            goodness=ff.goodness.MeanOfSquares(),
            loss=ff.losses.SymBa(),
            normalization=ff.normalization.BatchNorm(affine=True),
            label_encoder=ff.label_encoders.LearnedChannel(CLASSES, SIZE) if labelled else None,
            **options,
        )

    projection = ff.goodness.LearnedProjection(CLASSES, pool=ff.pooling.SpatialPool(2))
    groups = ff.goodness.ClassGroups(CLASSES)
    fitting = [width - width % CLASSES for width in widths]  # a multiple of the classes, never more than the width
    return {
        "backpropagation": (Plain(widths, pools), None),
        "class groups": (
            ff.FFSequential(*convolutions(3, **(usual | {"widths": fitting})), goodness=groups, **per_class),
            None,
        ),
        "learned projection": (ff.FFSequential(*convolutions(3, **usual), goodness=projection, **per_class), None),
        "pair": (pair(), None),
        "pair, overlapping": (pair(), ff.update_schedules.Overlapping(2, "step")),
        "pair, hard labels": (pair(negatives=ff.negatives.HardLabel()), None),
        "self-contrastive": (pair(False, negatives=ff.negatives.SelfContrast(), num_classes=CLASSES), None),
    }


def measure(
    widths: Sequence[int], pools: tuple[int, ...], images: torch.Tensor, labels: torch.Tensor, show: int = 0
) -> dict[str, dict[str, int]]:
    """Return the peaks of every kind of step, in bytes."""
    found = {}
    for name, (model, schedule) in models(widths, pools).items():
        model.to(images.device)
        optimizer = ff.LocalOptimizer(torch.optim.SGD, lr=1e-4)
        peaks: dict[str, int] = {}
        for phase in range(1 if schedule is None else 2):
            groups = None if schedule is None else schedule(len(widths), 0, phase, 1)

            def step(model: Any = model, optimizer: Any = optimizer, groups: Any = groups) -> None:
                model.step((images, labels), optimizer, groups=groups)

            tensors, alive = activation_peak(model, step)
            if tensors > peaks.get("tensors", 0):
                peaks["tensors"] = tensors
                top = alive
            if images.is_cuda:
                peaks["allocator"] = max(peaks.get("allocator", 0), allocator_peak(model, step))
        found[name] = peaks
        if show:
            print(f"{name}: {peaks['tensors'] / 2**20:.1f} MiB")
            for made in top[:show]:
                print(f"    {made.bytes / 2**20:8.2f} MiB  {made.by:<45}{made.shape}")
    return found


def main() -> None:
    """Measure and print."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=bounded(int, 2), default=16)
    parser.add_argument("--width", type=bounded(int, 1), default=16, help="of the layers of equal width")
    parser.add_argument("--depths", type=several(bounded(int, 1)), default=(6, 12, 24), help="how many of them")
    parser.add_argument("--show", type=int, default=0, metavar="N", help="print the N largest tensors of each peak")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "memory.json")
    options = parser.parse_args()
    torch.manual_seed(0)
    images = torch.randn(options.images, 3, SIZE, SIZE, device=options.device)
    labels = torch.randint(CLASSES, (options.images,), device=options.device)

    def share(peaks: dict[str, dict[str, int]], name: str, figure: str = "tensors") -> float:
        return peaks[name][figure] / peaks["backpropagation"][figure]

    deep = measure(TRIFECTA_DEEP, (2, 6, 10), images, labels, options.show)
    print(f"the Trifecta's deep network, {options.images} images, float32, {options.device}")
    for name, peaks in deep.items():
        bound = f"   at most {BOUNDS[name]}" if name in BOUNDS else ""
        figures = "   ".join(
            f"{figure} {value / 2**20:7.1f} MiB {share(deep, name, figure):5.2f}" for figure, value in peaks.items()
        )
        print(f"  {name:<22}{figures}{bound}")
    depths = options.depths
    equal = {depth: measure([options.width] * depth, (), images, labels) for depth in depths}
    print(f"layers of {options.width} channels, {', '.join(map(str, depths))} of them, MiB")
    for name in deep:
        print(f"  {name:<22}" + "  ".join(f"{equal[depth][name]['tensors'] / 2**20:8.1f}" for depth in depths))
    content = {
        "command": shlex.join(["python", "benchmarks/memory.py", *sys.argv[1:]]),
        "images": options.images,
        "device": options.device if options.device == "cpu" else torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "trifecta_deep": {
            name: {**peaks, "ratio": share(deep, name), "bound": BOUNDS.get(name)} for name, peaks in deep.items()
        },
        "equal_width": {
            "width": options.width,
            "tensors": {name: {depth: equal[depth][name]["tensors"] for depth in depths} for name in deep},
        },
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
