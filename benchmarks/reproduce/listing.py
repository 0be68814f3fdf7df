"""The state of every table, figure and claim, as text for the terminal and as tables for the page of commands."""

from __future__ import annotations

import fnmatch
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.markdown import table
from benchmarks.pages import filled, write
from benchmarks.reproduce.interface import Job, State, Studies, states
from benchmarks.reproduce.order import Entry
from benchmarks.reproduce.papers import ABSENT, PAPERS, Item, Paper
from benchmarks.reproduce.registry import shown_by

__all__ = ["COMMANDS", "INDEX", "cell_lines", "duration", "item_lines", "jobs_of", "state_of", "write_pages"]

#: Page of commands and index of the papers, below the folder of pages.
COMMANDS, INDEX = Path("papers") / "from_paper_to_code.md", Path("papers") / "index.md"

#: Jobs of every module of studies, with the studies.
Jobs = Mapping[str, tuple[Studies, Sequence[Job]]]


def jobs_of(item: Item, jobs: Jobs) -> list[Job]:
    """Return an item's cells."""
    return [
        job
        for job in _of_studies(item.studies, jobs)
        if any(fnmatch.fnmatchcase(job.name, pattern) for pattern in item.cells)
    ]


def _of_studies(word: str, jobs: Jobs) -> list[Job]:
    """Return the cells of studies that are named as on the command line."""
    name, _, study = word.partition("/")
    if name not in jobs:
        return []
    studies, every = jobs[name]
    return shown_by(every, [study] if study else list(studies.titles))


def state_of(item: Item, jobs: Jobs, results: Path) -> str:
    """Return an item's state in words.

    Args:
        item: The item.
        jobs: Jobs of every module of studies, by name.
        results: Folder of the finished cells and of summaries of runs.
    """
    if item.studies:
        state = _counted(Counter(states(jobs_of(item, jobs)).values()))
        if state.startswith("not run"):
            if any(job.is_finished for job in _of_studies(item.smaller, jobs)):
                return f"reduced (in {item.smaller})"
            if item.data in ABSENT:
                return f"{state}: data not available"
        return state
    if item.runs:
        if count := len(list(results.glob(item.runs))):
            return f"done ({count} seed{'' if count == 1 else 's'})"
        is_reduced = bool(item.smaller_runs) and any(results.glob(item.smaller_runs))
        return "reduced (fewer epochs)" if is_reduced else "not run"
    return ""


def _counted(counts: Counter[State]) -> str:
    """Return the state of several goals in words."""
    total = sum(counts.values())
    if not total:
        return "no study"
    if counts["done"] == total:
        return f"done ({_cells(total)})"
    parts = [f"{number} {state}" for state, number in counts.items() if state != "missing"]
    return f"{', '.join(parts)}, of {_cells(total)}" if parts else f"not run ({_cells(total)})"


def _cells(count: int) -> str:
    return f"{count} cell{'' if count == 1 else 's'}"


def command_of(item: Item) -> str:
    """Return the command that reproduces an item, "" for those without a training."""
    return item.command or (f"python -m benchmarks reproduce {item.studies}" if item.studies else "")


#: Estimated duration of a cell of the studies with a name.
Seconds = Callable[[str, Job], float]


def item_lines(jobs: Jobs, results: Path, seconds: Seconds) -> list[str]:
    """Return the lines of `--list`: each paper's items with their states and estimates.

    Args:
        jobs: Jobs of every module of studies, by name.
        results: Folder of the finished cells and of summaries of runs.
        seconds: Estimated duration of a cell.
    """
    lines = []
    for paper in PAPERS:
        lines += ["", f"{paper.title.replace('*', '')}, arXiv {paper.number}"]
        for item in paper.items:
            missing = [job for job in jobs_of(item, jobs) if not job.is_finished and not job.setting]
            name = item.studies.partition("/")[0]
            estimate = duration(sum(seconds(name, job) for job in missing)) if missing else ""
            parts = (state_of(item, jobs, results), estimate, command_of(item), _plain(item.remark))
            lines += [f"  {item.name}: {item.shows}", f"      {'; '.join(filter(None, parts))}"]
    return lines


def _plain(text: str) -> str:
    """Return Markdown as plain text: names of objects without their module, text of links."""
    text = re.sub(r"\{\w+\}`~?(?:[\w.]*\.)?(\w+)`", r"\1", text)
    return re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text).replace("`", "")


def cell_lines(jobs: Jobs, order: Sequence[Entry], seconds: Seconds, is_available: Callable[[str], bool]) -> list[str]:
    """Return one line per cell: the unfinished ones in the order in which they run, then the finished ones.

    Args:
        jobs: Jobs of every selected module of studies, by name.
        order: The unfinished cells in their order.
        seconds: Estimated duration of a cell.
        is_available: Whether the files of a data set are at hand.
    """
    goals = {name: states(every) for name, (_, every) in jobs.items()}
    lines = []
    for number, (studies, job) in enumerate(order, start=1):
        state = goals[studies.name][job.goal] if is_available(job.data) else "data not available"
        lines.append(f"{number:>4}  {state:<8}  {duration(seconds(studies.name, job)):>9}  {studies.name}/{job.name}")
    for name, (_, every) in jobs.items():
        for job in every:
            if job.is_finished:
                state = "reduced" if job.setting else "done"
                took = "" if job.seconds is None else duration(job.seconds)
                lines.append(f"{'':>4}  {state:<8}  {took:>9}  {name}/{job.name}")
    return lines


def duration(seconds: float) -> str:
    """Return a duration in words, such as 34 min or 12 h."""
    minutes = seconds / 60
    if minutes < 1:
        return f"{max(seconds, 0):.0f} s"
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:,.0f} h"


def write_pages(jobs: Jobs, results: Path, docs: Path) -> None:
    """Write the tables of the page of commands and of the papers' index.

    Args:
        jobs: Jobs of every module of studies, by name.
        results: Folder of the finished cells and of summaries of runs.
        docs: Folder of the pages.
    """
    tables = [(docs / COMMANDS, f"items-{paper.name}", item_table(paper, jobs, results)) for paper in PAPERS]
    for page, marker, content in (*tables, (docs / INDEX, "papers", paper_table(jobs, docs))):
        text = filled(page, marker, content)
        if text != page.read_text(encoding="utf-8"):
            write(page, text)


def item_table(paper: Paper, jobs: Jobs, results: Path) -> str:
    """Return the Markdown table of a paper's items."""
    rows = []
    for item in paper.items:
        command = f"`{command_of(item)}`" if command_of(item) else ""
        here = "; ".join(filter(None, (command, item.remark)))
        rows.append((item.name, item.shows, here, state_of(item, jobs, results) or "not a training"))
    return table(("in the paper", "what it shows", "here", "state"), rows, numbers=False)


def paper_table(jobs: Jobs, docs: Path) -> str:
    """Return the Markdown table of the papers, with a link to each page that exists."""
    rows = []
    for paper in PAPERS:
        of_paper = {name: every for name, (studies, every) in jobs.items() if studies.paper == paper.number}
        page = f"{paper.page}.md"
        title = f"[{paper.title}]({page})" if (docs / "papers" / page).exists() else paper.title
        commands = [f"`python -m benchmarks reproduce {name}`" for name in of_paper]
        counts = Counter(state for every in of_paper.values() for state in states(every).values())
        rows.append((f"{title}, arXiv {paper.number}", paper.question, "<br>".join(commands), _counted(counts)))
    return table(("paper", "question", "studies", "state"), rows, numbers=False)
