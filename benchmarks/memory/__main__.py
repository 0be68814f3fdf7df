"""The command line, ``python -m benchmarks.memory``."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import benchmarks.memory
from benchmarks.command_line import Parser, bounded, choose_device, one_line_errors, several, shell_command
from benchmarks.machine import describe_machine, empty_compiler_cache
from benchmarks.memory.measure import REFERENCE, Figures, measure
from benchmarks.memory.steps import CLASSES, SHAPE
from benchmarks.memory.tables import write_page
from benchmarks.pages import ROOT, write
from forwardforward.recipes import get
from forwardforward.recipes.architectures import Convolutions

RESULTS = ROOT / "benchmarks" / "results" / "memory.json"

#: The Trifecta's deep network.
DEEP = get("trifecta-d")
assert isinstance(DEEP.architecture, Convolutions)
POOLS = DEEP.architecture.pools

#: Largest acceptable ratios to backpropagation's peak, in the Trifecta's deep network.
BOUNDS = {
    **dict.fromkeys(("class groups", "learned projection"), 0.5),
    **dict.fromkeys(("pair", "pair, overlapping", "pair, hard labels", "self-contrastive"), 0.9),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write results and tables.

    Args:
        arguments: Words after the program's name; default: those of the process.
    """
    parser = Parser(prog="python -m benchmarks.memory", description=benchmarks.memory.__doc__)
    parser.add_argument("--images", type=bounded(int, 2), default=16)
    parser.add_argument("--width", type=bounded(int, CLASSES), default=16, help="width of layers of equal width")
    parser.add_argument("--depths", type=several(bounded(int, 1)), default=(4, 8, 16, 32, 64),
                        help="numbers of such layers")  # fmt: skip
    parser.add_argument("--micro-batches", type=several(bounded(int, 2)), default=(4, 16),
                        help="numbers of parts of the batch for gradient accumulation")  # fmt: skip
    parser.add_argument("--trifecta-width", type=bounded(float, 1e-3), default=1.0,
                        help="factor on the widths of the Trifecta's deep network")  # fmt: skip
    parser.add_argument("--compile-depth", type=bounded(int, 0), default=32,
                        help="largest depth at which the compiled whole form is measured; 0 for none")  # fmt: skip
    parser.add_argument("--rounds", type=bounded(int, 1), default=7, help="rounds of timed steps")
    parser.add_argument("--show", type=int, default=0, metavar="N", help="print the N largest tensors of each peak")
    parser.add_argument("--device", help="cpu, cuda, ... (default: a GPU if available)")
    parser.add_argument("--threads", type=bounded(int, 1, 4096), default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=RESULTS, help="file of the results; the page shows the default one")
    parser.add_argument("--render", action="store_true", help="measure nothing, write the page's tables")
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = parser.parse_args(words)
    with one_line_errors(parser.prog, "--images, --width or --depths"):
        if not options.render:
            content = _measure(options, shell_command("benchmarks.memory", words))
            write(options.out, json.dumps(content, indent=1) + "\n")
        if options.out == RESULTS:
            write_page(RESULTS)


def _measure(options: argparse.Namespace, command: str) -> dict[str, Any]:
    """Measure both kinds of networks, print, and return the results."""
    torch.set_num_threads(options.threads)
    device = choose_device(options.device)
    torch.manual_seed(0)
    images = torch.randn(options.images, *SHAPE, device=device)
    labels = torch.randint(CLASSES, (options.images,), device=device)
    micro_batches = [parts for parts in options.micro_batches if parts <= options.images]
    settings: dict[str, Any] = {
        "micro_batches": micro_batches,
        "rounds": options.rounds,
    }
    compiles = options.compile_depth > 0
    widths = [max(CLASSES, round(width * options.trifecta_width)) for width in DEEP.widths]
    with empty_compiler_cache() if compiles else contextlib.nullcontext():
        depths = {}
        for depth in options.depths:
            depths[str(depth)] = measure(
                [options.width] * depth, (), (images, labels), whole=depth <= options.compile_depth, **settings
            )
            print(f"{depth} layers of {options.width} channels, {options.images} images, float32, {device}")
            _print(depths[str(depth)])
        deep = measure(
            widths, POOLS, (images, labels), whole=len(widths) <= options.compile_depth, show=options.show, **settings
        )
    print(f"the Trifecta's deep network, {options.images} images, float32, {device}")
    _print(deep)
    for name, figures in deep.items():
        figures["ratio"] = figures["tensors"] / deep[REFERENCE]["tensors"] if "tensors" in figures else None
        figures["bound"] = BOUNDS.get(name)
    return {
        "command": command,
        "images": options.images,
        "rounds": options.rounds,
        "machine": describe_machine(device),
        "trifecta_deep": deep,
        "equal_width": {"width": options.width, "depths": depths},
    }


def _print(kinds: Mapping[str, Figures]) -> None:
    for name, figures in kinds.items():
        tensors = f"{figures['tensors'] / 2**20:8.1f} MiB" if "tensors" in figures else " " * 12
        low, median, high = figures["time_over_checkpointed"]
        print(
            f"  {name:<34}{tensors}{figures['allocator'] / 2**20:8.1f} MiB allocated{figures['milliseconds']:8.1f} ms"
            f"   {median:.2f} ({low:.2f} to {high:.2f}) times checkpointed",
            flush=True,
        )


if __name__ == "__main__":
    main()
