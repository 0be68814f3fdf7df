"""The programs of the README run as they are printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"

#: The programs in their order; later ones may use the names of earlier ones.
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)

#: Those that go from import to a saved and reloaded model.
COMPLETE = [block for block in BLOCKS if "import forwardforward" in block or "forwardforward as ff" in block][1:]


def test_a_program_from_import_to_a_reloaded_model_has_at_most_ten_lines() -> None:
    assert len(COMPLETE) == 3
    for block in COMPLETE:
        assert len([line for line in block.splitlines() if line.strip()]) <= 10


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # those of Lightning
def test_the_programs_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for extra in ("sklearn", "lightning"):
        pytest.importorskip(extra)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in BLOCKS:
        exec(compile(block, str(README), "exec"), names)
    assert "one-pass head" in capsys.readouterr().out
    assert (tmp_path / "digits-lightning").is_dir()
