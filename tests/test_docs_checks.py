"""The check of the built documentation finds broken links, missing anchors and files from the network."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import forwardforward
from tests import scripts

DOCS = Path(__file__).parents[1] / "docs"
SCRIPT = DOCS / "check_site.py"

if not SCRIPT.exists():
    pytest.skip("this copy contains no documentation", allow_module_level=True)

check_site = scripts.load("check_site")


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


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_the_scorer_sees_the_query_and_ranks_guides_above_the_api() -> None:
    """The scorer reads the query's words from the address, as in a browser."""
    stub = "const stopwords = new Set(), splitQuery = (text) => text.split(/\\W+/).filter(Boolean);"
    stub += "class Stemmer { stemWord(word) { return word.replace(/s$/, ''); } } const location = {search: '?q=GPUs'};"
    rows = [
        ["faq", "Questions", "", None, 5, "", "text"],
        ["gpus", "GPUs", "", None, 5, "", "text"],
        ["api/x", "X", "", None, 5, "", "text"],
        ["api/x", "x.gpus", "#gpus", "", 16, "", "object"],
        ["changelog", "Changelog", "", None, 5, "", "text"],
    ]
    script = f"{stub}{SCRIPT.with_name('search_scorer.js').read_text(encoding='utf-8')}"
    script += f"console.log(JSON.stringify({json.dumps(rows)}.map((row) => Scorer.score(row))))"
    scores = json.loads(subprocess.run(["node", "-e", script], stdout=subprocess.PIPE, text=True, check=True).stdout)
    assert scores == [9, 21, 1, 16, -3]


def test_the_citation_names_the_version_of_the_package() -> None:
    cited = re.findall(r"version = \{(.+?)\}", (DOCS / "faq.md").read_text(encoding="utf-8"))
    assert cited == [forwardforward.__version__]


def test_the_script_has_the_lines_that_its_page_states() -> None:
    page = (DOCS / "from_a_script.md").read_text(encoding="utf-8")
    parts = page.partition("## The same layer")[0]
    lines = {"script": 0, "library": 0}
    for kind, block in re.findall(r"^The (script|library):.*?```python\n(.*?)```", parts, re.DOTALL | re.MULTILINE):
        lines[kind] += len(re.findall(r"^(?:>>>|\.\.\.) ", block, re.MULTILINE))
    assert f"The script above is {lines['script']} lines, the library's program {lines['library']}." in page
    original = [re.findall(r"one file of (\d+) lines", text) for text in (page, (DOCS / "neighbors.md").read_text())]
    assert original[0] == original[1] != []
    assert f"The original's {original[0][0]} lines" in page


def test_the_contributors_guide_counts_the_widths() -> None:
    guide = (DOCS.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    widths = re.search(r"^WIDTHS = \((.*)\)$", (DOCS / "check_widths.py").read_text(encoding="utf-8"), re.MULTILINE)
    assert widths is not None
    assert len(widths[1].split(",")) == 4
    assert "in a browser at four widths" in guide
