"""Checks of the built site: ``python docs/check_site.py docs/_build/html``.

- Every link within the site leads to a file and, with ``#``, to an element in it.
- No page loads scripts, styles or pictures from the network.
- The site's search finds the answer to each question of ``questions.json`` among the first results. The search is
  Sphinx's own, ``searchtools.js``, run by Node.js; without Node.js this check is left out, with a message.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

QUESTIONS = Path(__file__).with_name("questions.json")

#: The expected page is among this many results: they are visible without scrolling.
FIRST = 3

#: Runs searchtools.js without a browser: argv are the site's folder and the searches; prints the pages found by each.
SEARCH = """
const fs = require("fs"), vm = require("vm");
const [site, queries] = [process.argv[1], JSON.parse(process.argv[2])];
const document = {readyState: "loading", addEventListener() {}, getElementById: () => null};
const location = {search: ""};
const context = vm.createContext({document, console, localStorage: {setItem() {}}, location, URLSearchParams});
context.window = context;
const scripts = ["documentation_options", "doctools", "sphinx_highlight", "language_data", "searchtools"];
for (const file of [...scripts.map((name) => `_static/${name}.js`), "searchindex.js"])
  vm.runInContext(fs.readFileSync(`${site}/${file}`, "utf8"), context, {filename: file});
const found = queries.map((query) => {
  context.query = query;
  location.search = "?q=" + encodeURIComponent(query);
  const rows = vm.runInContext("Search._performSearch(...Search._parseQuery(query)).reverse()", context);
  return rows.map((row) => row[0] + row[2]);
});
console.log(JSON.stringify(found));
"""


@dataclass
class Page(HTMLParser):
    """Identifiers, links and loaded files of one page."""

    identifiers: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value for name, value in attrs if value is not None}
        self.identifiers |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        elif tag == "link" and values.get("rel") in ("stylesheet", "icon", "preload"):
            self.loaded.append(values["href"])
        elif tag in ("script", "img", "source", "iframe"):
            self.loaded += [values["src"]] if "src" in values else []
            self.loaded += [part.split()[0] for part in values.get("srcset", "").split(",") if part.strip()]


def read_pages(site: Path) -> dict[Path, Page]:
    """Return the pages of a site by their path."""
    pages = {}
    for path in sorted(site.rglob("*.html")):
        pages[path] = Page()
        pages[path].feed(path.read_text(encoding="utf-8"))
    return pages


def faults_of_links(site: Path, pages: dict[Path, Page]) -> Iterator[str]:
    """Yield one line per broken link and per file that is loaded from the network."""
    for path, page in pages.items():
        for address in page.loaded:
            if urlsplit(address).netloc:
                yield f"{path.relative_to(site)}: loads {address} from the network"
        for address in (*page.links, *page.loaded):
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            if not target.exists():
                yield f"{path.relative_to(site)}: {address} does not exist"
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].identifiers:
                yield f"{path.relative_to(site)}: {address} has no such anchor"


def results_of(site: Path, queries: list[str]) -> list[list[str]]:
    """Return the pages that the site's search finds, best first, as ``page`` or ``page#anchor``."""
    command = ["node", "-e", SEARCH, str(site), json.dumps(queries)]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    results: list[list[str]] = json.loads(output)
    return results


def faults_of_search(site: Path, pages: dict[Path, Page], questions: list[dict[str, Any]]) -> Iterator[str]:
    """Yield one line per question whose answer the search does not find."""
    found = results_of(site, [question["search"] for question in questions])
    for question, results in zip(questions, found, strict=True):
        page, anchor = question["page"], question["anchor"]
        first = [result.partition("#")[0] for result in results[:FIRST]]
        if page not in first:
            yield f"{question['question']} {question['search']!r} finds {results[:FIRST]}, not {page}"
        target = (site / f"{page}.html").resolve()
        if target not in pages or anchor not in pages[target].identifiers:
            yield f"{question['question']} {page}.html has no anchor {anchor!r}"


def main() -> int:
    """Print the faults of the site, and return 1 if there are any."""
    site = Path(sys.argv[1]).resolve()
    pages = read_pages(site)
    faults = list(faults_of_links(site, pages))
    questions = json.loads(QUESTIONS.read_text(encoding="utf-8"))
    if shutil.which("node"):
        faults += faults_of_search(site, pages, questions)
    else:
        print("no Node.js: the search is not checked")
    print(*faults, sep="\n", end="\n" if faults else "")
    print(f"{len(pages)} pages, {sum(len(page.links) for page in pages.values())} links, {len(questions)} questions")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
