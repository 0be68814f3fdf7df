"""Plug-in of pytest for the processes that run tests: fixed seeds, one thread, hypothesis profiles."""

from __future__ import annotations

import gc
import os
import random

import hypothesis
import numpy as np
import pytest
import torch

torch.set_num_threads(1)


class _TorchRandom:
    """Torch's CPU generator with the interface of `random.Random`, for hypothesis to seed before each example."""

    def seed(self, value: int) -> None:
        torch.default_generator.manual_seed(value)

    def getstate(self) -> torch.Tensor:
        return torch.default_generator.get_state()

    def setstate(self, state: torch.Tensor) -> None:
        torch.default_generator.set_state(state)


_torch_random = _TorchRandom()  # hypothesis keeps only a weak reference
hypothesis.register_random(_torch_random)
hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, database=None, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")


def pytest_collection_finish() -> None:
    """Exclude the thousands of collected tests from every later garbage collection."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def seed() -> int:
    """Seed python, numpy and torch before every test, and return the seed."""
    value = 0
    random.seed(value)
    np.random.seed(value)
    torch.manual_seed(value)
    return value
