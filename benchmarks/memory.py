"""Memory of a training step's activations, relative to backpropagation's in the same network.

    python -m benchmarks.memory                      the Trifecta's deep network, 16 images of 3x32x32, float32

The measure is the peak of the tensors that a step creates and that exist at the same time, without weights, gradients
of weights, optimizer state and images. On a GPU the allocator's peak is measured too. The results are written to
benchmarks/results/memory.json by default.
"""

from __future__ import annotations

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
from benchmarks.command_line import Parser, bounded, choose_device, one_line_errors, several
from benchmarks.pages import ROOT, write
from forwardforward.layers import NORMALIZE_FIRST, TRANSFORM_FIRST, FFLayer
from forwardforward.recipes import get
from forwardforward.recipes.architectures import Convolutions

CLASSES = 10
SHAPE = (3, 32, 32)

#: The Trifecta's deep network.
DEEP = get("trifecta-d")
assert isinstance(DEEP.architecture, Convolutions)
POOLS = DEEP.architecture.pools

#: Largest acceptable ratios to backpropagation's peak.
BOUNDS = {
    **dict.fromkeys(("class groups", "learned projection"), 0.5),
    **dict.fromkeys(("pair", "pair, overlapping", "pair, hard labels", "self-contrastive"), 0.9),
}


class Storage(NamedTuple):
    """A storage that was created while the meter ran."""

    bytes: int
    operation: str
    shape: tuple[int, ...]


class Meter(TorchDispatchMode):
    """Records the storages that operations create, forward and backward, until they are freed.

    Attributes:
        storages: Every storage, by number.
        events: Numbers in the order of creation (positive) and release (negative); the first number is 1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.storages: dict[int, Storage] = {}
        self.events: list[int] = []
        self._living: dict[int, tuple[Any, int]] = {}  # weak reference and number, by address
        self._excluded: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and record the storages that it creates."""
        known = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in known and storage._cdata not in self._living:
                    self._record(storage, Storage(storage.nbytes(), str(func), tuple(tensor.shape)))
        return result

    def _record(self, storage: torch.UntypedStorage, description: Storage) -> None:
        address, number = storage._cdata, len(self.storages) + 1
        self.storages[number] = description
        self.events.append(number)

        def release(_: Any) -> None:
            self.events.append(-number)
            del self._living[address]

        self._living[address] = (weakref.ref(storage, release), number)

    def exclude(self, tensor: torch.Tensor) -> None:
        """Exclude a tensor from the peak, from its creation on."""
        entry = self._living.get(tensor.untyped_storage()._cdata)
        if entry is not None:
            self._excluded.add(entry[1])

    def peak(self) -> tuple[int, list[Storage]]:
        """Return the largest number of bytes in existence at once, and their storages, largest first."""
        total = largest = 0
        living: set[int] = set()
        at_peak: set[int] = set()
        for event in self.events:
            number = abs(event)
            if number in self._excluded:
                continue
            if event > 0:
                total += self.storages[number].bytes
                living.add(number)
            else:
                total -= self.storages[number].bytes
                living.remove(number)
            if total > largest:
                largest, at_peak = total, set(living)
        return largest, sorted((self.storages[number] for number in at_peak), reverse=True)


def activation_peak(model: torch.nn.Module, step: Callable[[], Any]) -> tuple[int, list[Storage]]:
    """Return the peak of the tensors of one step without gradients of parameters, and what it consists of."""
    step()  # the first one creates optimizer state
    for parameter in model.parameters():
        parameter.grad = None
    meter = Meter()
    hooks = [p.register_post_accumulate_grad_hook(lambda p: meter.exclude(p.grad)) for p in model.parameters()]
    try:
        with meter:
            step()
    finally:
        for hook in hooks:
            hook.remove()
    return meter.peak()


def allocator_peak(model: torch.nn.Module, step: Callable[[], Any]) -> int:
    """Return the difference between the GPU allocator's peak during a step and its allocation before the step."""
    step()
    for parameter in model.parameters():
        parameter.grad = None
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def convolutions(channels: int, widths: Sequence[int], pools: tuple[int, ...], order: tuple[str, ...]) -> list[FFLayer]:
    """Return the layers of a network whose input has the given number of channels."""
    return Convolutions(pools=pools, order=order)((channels, *SHAPE[1:]), widths, CLASSES)


class Plain(torch.nn.Sequential):
    """Backpropagation with torch's own modules: convolve, normalize, activate, pool, and a linear layer on top."""

    def __init__(self, widths: Sequence[int], pools: tuple[int, ...]) -> None:
        modules: list[torch.nn.Module] = []
        for layer, (in_channels, channels) in enumerate(itertools.pairwise([SHAPE[0], *widths])):
            modules += [
                torch.nn.Conv2d(in_channels, channels, 3, padding=1, bias=False),
                torch.nn.BatchNorm2d(channels, affine=False),
                torch.nn.ReLU(inplace=True),
            ]
            modules += [torch.nn.MaxPool2d(2)] if layer in pools else []
        features = widths[-1] * (SHAPE[1] // 2 ** len(pools)) ** 2
        super().__init__(*modules, torch.nn.Flatten(), torch.nn.Linear(features, CLASSES))

    def parameter_groups(self) -> dict[str, torch.nn.Module]:
        """Return the network as one group."""
        return {"network": self}

    def step(self, batch: tuple[torch.Tensor, torch.Tensor], optimizer: ff.LocalOptimizer, groups: Any = None) -> None:
        """Update the network once."""
        optimizer.attach(self)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(self(batch[0]), batch[1]).backward()
        optimizer.step()


def models(widths: Sequence[int], pools: tuple[int, ...]) -> dict[str, tuple[torch.nn.Module, Any]]:
    """Return one model of each kind with convolutions of the same widths, and its update schedule."""

    def per_class(goodness: ff.goodness.PerClassGoodness, widths: Sequence[int]) -> ff.FFSequential:
        return ff.FFSequential(
            *convolutions(SHAPE[0], widths, pools, TRANSFORM_FIRST),
            goodness=goodness,
            loss=ff.losses.CrossEntropy(),
            normalization=ff.normalization.BatchNorm(),
            input_shape=SHAPE,
        )

    def pair(labeled: bool = True, **options: Any) -> ff.FFSequential:
        return ff.FFSequential(
            *convolutions(SHAPE[0] + labeled, widths, pools, NORMALIZE_FIRST),
            goodness=ff.goodness.MeanOfSquares(),
            loss=ff.losses.SymBa(),
            normalization=ff.normalization.BatchNorm(affine=True),
            label_encoder=ff.label_encoders.LearnedChannel(CLASSES, SHAPE[1:]) if labeled else None,
            input_shape=SHAPE,
            **options,
        )

    projection = ff.goodness.LearnedProjection(CLASSES, pool=ff.pooling.SpatialPool(2))
    divisible = [width - width % CLASSES for width in widths]  # one group of channels per class
    return {
        "backpropagation": (Plain(widths, pools), None),
        "class groups": (per_class(ff.goodness.ClassGroups(CLASSES), divisible), None),
        "learned projection": (per_class(projection, widths), None),
        "pair": (pair(), None),
        "pair, overlapping": (pair(), ff.update_schedules.Overlapping(2, "step")),
        "pair, hard labels": (pair(negatives=ff.negatives.HardLabel()), None),
        "self-contrastive": (pair(False, negatives=ff.negatives.SelfContrast(), num_classes=CLASSES), None),
    }


def measure(
    widths: Sequence[int], pools: tuple[int, ...], images: torch.Tensor, labels: torch.Tensor, show: int = 0
) -> dict[str, dict[str, int]]:
    """Return the peaks of every kind of step, in bytes.

    Args:
        widths: Numbers of channels.
        pools: Indices of the layers that end with a max-pool.
        images: The batch.
        labels: Its labels.
        show: Number of storages to print per kind.
    """
    all_peaks = {}
    for name, (model, schedule) in models(widths, pools).items():
        model.to(images.device)
        optimizer = ff.LocalOptimizer(torch.optim.SGD, lr=1e-4)
        peaks: dict[str, int] = {}
        largest: list[Storage] = []
        for phase in range(1 if schedule is None else 2):
            groups = None if schedule is None else schedule(len(widths), 0, phase, 1)

            def step(model: Any = model, optimizer: Any = optimizer, groups: Any = groups) -> None:
                model.step((images, labels), optimizer, groups=groups)

            tensors, storages = activation_peak(model, step)
            if tensors > peaks.get("tensors", 0):
                peaks["tensors"], largest = tensors, storages
            if images.is_cuda:
                peaks["allocator"] = max(peaks.get("allocator", 0), allocator_peak(model, step))
        all_peaks[name] = peaks
        if show:
            print(f"{name}: {peaks['tensors'] / 2**20:.1f} MiB")
            for storage in largest[:show]:
                print(f"    {storage.bytes / 2**20:8.2f} MiB  {storage.operation:<45}{storage.shape}")
    return all_peaks


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print and write the results."""
    parser = Parser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--images", type=bounded(int, 2), default=16)
    parser.add_argument("--width", type=bounded(int, CLASSES), default=16, help="width of layers of equal width")
    parser.add_argument("--depths", type=several(bounded(int, 1)), default=(6, 12, 24), help="numbers of such layers")
    parser.add_argument("--show", type=int, default=0, metavar="N", help="print the N largest tensors of each peak")
    parser.add_argument("--device", help="cpu, cuda, ... (default: a GPU if available)")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "memory.json")
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = parser.parse_args(words)
    with one_line_errors(parser.prog, "--images, --width or --depths"):
        device = choose_device(options.device)
        torch.manual_seed(0)
        images = torch.randn(options.images, *SHAPE, device=device)
        labels = torch.randint(CLASSES, (options.images,), device=device)
        deep = measure(DEEP.widths, POOLS, images, labels, options.show)
        ratios = {
            name: {figure: value / deep["backpropagation"][figure] for figure, value in peaks.items()}
            for name, peaks in deep.items()
        }
        print(f"the Trifecta's deep network, {options.images} images, float32, {device}")
        for name, peaks in deep.items():
            bound = f"   bound {BOUNDS[name]}" if name in BOUNDS else ""
            figures = "   ".join(
                f"{figure} {value / 2**20:7.1f} MiB {ratios[name][figure]:5.2f}" for figure, value in peaks.items()
            )
            print(f"  {name:<22}{figures}{bound}")
        equal = {depth: measure([options.width] * depth, (), images, labels) for depth in options.depths}
        print(f"{', '.join(map(str, options.depths))} layers of {options.width} channels, MiB")
        for name in deep:
            print(f"  {name:<22}" + "  ".join(f"{peaks[name]['tensors'] / 2**20:8.1f}" for peaks in equal.values()))
        content = {
            "command": shlex.join(["python", "-m", "benchmarks.memory", *words]),
            "images": options.images,
            "device": torch.cuda.get_device_name() if images.is_cuda else device,
            "torch": torch.__version__,
            "trifecta_deep": {
                name: {**peaks, "ratio": ratios[name]["tensors"], "bound": BOUNDS.get(name)}
                for name, peaks in deep.items()
            },
            "equal_width": {
                "width": options.width,
                "tensors": {name: {depth: peaks[name]["tensors"] for depth, peaks in equal.items()} for name in deep},
            },
        }
        write(options.out, json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
