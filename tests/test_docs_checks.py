"""The check of the built documentation finds broken links, missing anchors and files from the network."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "docs" / "check_site.py"

if not SCRIPT.exists():
    pytest.skip("this copy contains no documentation", allow_module_level=True)

specification = importlib.util.spec_from_file_location("check_site", SCRIPT)
assert specification is not None
assert specification.loader is not None
check_site = importlib.util.module_from_spec(specification)
sys.modules["check_site"] = check_site  # where dataclasses look for it
specification.loader.exec_module(check_site)


def faults(site: Path, body: str) -> list[str]:
    (site / "api").mkdir()
    (site / "api" / "index.html").write_text('<h1 id="top">API</h1><a href="../index.html#here">back</a>')
    (site / "index.html").write_text(f'<p id="here">{body}</p>')
    return list(check_site.faults_of_links(site.resolve(), check_site.read_pages(site.resolve())))


@pytest.mark.parametrize(
    "body",
    [
        '<a href="api/index.html#top">API</a> <a href="#here">here</a> <a href="api/">folder</a>',
        '<a href="https://arxiv.org/abs/2212.13345">a paper</a> <a href="mailto:a@b.c">mail</a>',
        '<math><mi>x</mi></math><script>let x = "no file"</script>',
    ],
)
def test_whole_links_pass(tmp_path: Path, body: str) -> None:
    assert faults(tmp_path, body) == []


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ('<a href="gone.html">gone</a>', "index.html: gone.html does not exist"),
        ('<a href="api/index.html#gone">gone</a>', "index.html: api/index.html#gone has no such anchor"),
        ('<a href="#gone">gone</a>', "index.html: #gone has no such anchor"),
        ('<img src="gone.png">', "index.html: gone.png does not exist"),
        ('<img srcset="api/index.html, gone.png 2.00x">', "index.html: gone.png does not exist"),
        (
            '<script src="https://cdn.example/math.js"></script>',
            "index.html: loads https://cdn.example/math.js from the network",
        ),
    ],
)
def test_faults_are_named(tmp_path: Path, body: str, fault: str) -> None:
    assert faults(tmp_path, body) == [fault]


def test_there_are_twenty_questions_about_pages_that_exist() -> None:
    questions = json.loads(check_site.QUESTIONS.read_text(encoding="utf-8"))
    assert len({question["question"] for question in questions}) >= 20
    pages = {question["page"] for question in questions}
    assert [page for page in sorted(pages) if not (SCRIPT.parent / f"{page}.md").exists()] == []
