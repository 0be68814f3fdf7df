"""The machine and the software of a measurement, and torch's compiler without what it has compiled before."""

from __future__ import annotations

import contextlib
import os
import platform
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

__all__ = ["describe_machine", "device_name", "empty_compiler_cache", "machine_words", "start_compiler"]

#: Units for products in bfloat16 of x86 processors, as Linux names them. On ARM, Linux names them "bf16".
BF16_UNITS = ("amx_bf16", "avx512_bf16", "bf16")

CPU_INFORMATION = Path("/proc/cpuinfo")


def describe_machine(device: str) -> dict[str, Any]:
    """Return the names of CPU and device, the CPU's units for bfloat16, threads, cores and torch's version.

    Args:
        device: Device of the measurement.
    """
    cpu, units = _cpu()
    return {
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu",
        "cpu": cpu,
        "bf16_units": units,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def machine_words(machine: Mapping[str, Any]) -> str:
    """Return the device, the threads and the units for bfloat16 in words.

    Args:
        machine: As :func:`describe_machine` returns it.
    """
    if machine["device"] != "cpu":
        return str(machine["device"])
    units = machine["bf16_units"]
    if units is None:
        words = "units for bfloat16 unknown"
    else:
        words = f"units for bfloat16: {', '.join(units)}" if units else "no units for bfloat16"
    threads = machine["threads"]
    return f"{machine['cpu']}, {threads} thread{'' if threads == 1 else 's'}, {words}"


def device_name(device: str) -> str:
    """Return the name of a GPU or another accelerator, or that of the CPU with the number of threads.

    Args:
        device: Device of the measurement.
    """
    machine = describe_machine(device)
    if not device.startswith("cpu"):
        return str(machine["device"]) if device.startswith("cuda") else device
    return f"{machine['cpu']} ({machine['threads']} thread{'' if machine['threads'] == 1 else 's'})"


def _cpu() -> tuple[str, list[str] | None]:
    """Return the name of the CPU, and its units for products in bfloat16; None if they are unknown."""
    try:
        lines = CPU_INFORMATION.read_text(encoding="utf-8").splitlines()
    except OSError:  # not on Linux
        return platform.processor() or platform.machine(), None
    fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    flags = fields.get("flags", fields.get("Features", "")).split()
    return fields.get("model name", platform.machine()), [unit for unit in BF16_UNITS if unit in flags]


@contextlib.contextmanager
def empty_compiler_cache() -> Iterator[None]:
    """Context manager in which torch's compiler finds nothing that it has compiled before, in this process or another.

    Without it, the time of a compilation would depend on what was measured before.
    """
    name = "TORCHINDUCTOR_CACHE_DIR"
    previous = os.environ.get(name)
    torch.compiler.reset()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ[name] = folder
        try:
            yield
        finally:
            torch.compiler.reset()
            if previous is None:
                del os.environ[name]
            else:
                os.environ[name] = previous


def start_compiler(device: str) -> float:
    """Compile one addition, and return the seconds; what the compiler prepares once is then not part of others' time.

    Args:
        device: Device of the measurement.
    """
    start = time.perf_counter()
    torch.compile(_increment)(torch.ones(8, device=device))
    return time.perf_counter() - start


def _increment(x: torch.Tensor) -> torch.Tensor:
    return x + 1
