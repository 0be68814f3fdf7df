"""Reuse of freed memory."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource
import torch
import forwardforward as ff

assert ff.training.reuse_freed_memory()

def fill():
    for _ in range(5):
        torch.full((16, 2**20), 1.0)  # 64 MiB, 16384 pages

fill()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
fill()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_tensors_use_the_pages_of_freed_ones() -> None:
    faults = subprocess.run([sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True).stdout
    assert int(faults) < 100


def test_systems_without_glibc_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from forwardforward.training import allocation

    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(allocation.ctypes, "CDLL", pytest.fail)
    assert not allocation.reuse_freed_memory()
