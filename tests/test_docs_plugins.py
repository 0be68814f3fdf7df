"""Every plug-in of the page about own plug-ins survives save and load."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import forwardforward as ff

PAGE = Path(__file__).parents[1] / "docs" / "extending.md"
PLUGINS = (nn.Module, ff.negatives.Negatives)

if not PAGE.exists():
    pytest.skip("this copy contains no documentation", allow_module_level=True)


def test_every_network_and_plugin_of_the_page_can_be_saved_and_loaded(tmp_path: Path) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    networks: list[ff.FFSequential] = []
    for example in doctest.DocTestParser().get_examples(PAGE.read_text(encoding="utf-8")):
        exec(compile(example.source, str(PAGE), "single"), names)
        found = [value for value in names.values() if isinstance(value, ff.FFSequential)]
        networks += [network for network in found if not any(network is other for other in networks)]
    own = {name: value for name, value in names.items() if getattr(value, "__module__", None) == "__main__"}
    saved: set[str] = set()
    for index, network in enumerate(networks):
        if not network.is_set_up or network.input_shape is None:
            network.setup((16,))
        folder = tmp_path / str(index)
        network.save_pretrained(folder)
        loaded = ff.FFSequential.from_pretrained(folder, plugins=list(own.values()))
        images = torch.rand(5, 16)
        assert torch.equal(loaded.predict(images), network.predict(images))
        text = (folder / "config.json").read_text(encoding="utf-8")
        saved |= {name for name in own if f'"{name}"' in text}
    plugins = {name for name, value in own.items() if isinstance(value, type) and issubclass(value, PLUGINS)}
    assert plugins | {"last_layer"} == saved
