"""``forwardforward doctor``: explain a bad run from its history."""

from __future__ import annotations

import argparse
import dataclasses
import json
import textwrap
from typing import Any

from forwardforward.cli.report import headline
from forwardforward.diagnostics.findings import CAUSES
from forwardforward.runs import Run

WIDTH = 110


def add_command(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "doctor",
        help="explain a bad run from its history",
        description="Name the probable causes of a bad result, with the figures of the run's history that speak for "
        f"them: {', '.join(CAUSES)}.",
    )
    parser.set_defaults(action=_doctor, reduce="")
    parser.add_argument("folder", metavar="RUN", help="run folder")
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output")


def _doctor(options: argparse.Namespace) -> None:
    run = Run.open(options.folder)
    findings, done = run.diagnose(), run.epochs_logged
    if options.json:
        facts = {"data": run.config.data, "recipe": run.config.recipe, "epochs_done": done, "epochs": run.config.epochs}
        print(json.dumps({**facts, "findings": [dataclasses.asdict(finding) for finding in findings]}))
        return
    print(headline(run.config, done))
    if not findings:
        print("  nothing in the history stands out")
    for number, finding in enumerate(findings, 1):
        print(f"{number}. {finding.title}")
        for text in (finding.text[0].upper() + finding.text[1:], f"To do: {finding.remedy}"):
            print(textwrap.fill(text, WIDTH, initial_indent="   ", subsequent_indent="   ", break_on_hyphens=False))
