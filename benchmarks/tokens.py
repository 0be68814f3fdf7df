"""Compare the words of the IMDb reviews with those that the first tokenizer of this library found.

    python -m benchmarks.tokens --data-dir DIR

The first tokenizer took runs of letters and digits, with the two common apostrophes inside, from lower-case text. The
counts are written to ``benchmarks/results/tokens.json``.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks.command_line import Parser, one_line_errors
from benchmarks.pages import ROOT, write
from forwardforward.data.text import ReviewFolder, Texts, tokenize

OUT = ROOT / "benchmarks" / "results" / "tokens.json"
BREAK = re.compile(r"<br\s*/?>")
WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*|[!?]")


def first_tokenizer(text: str) -> list[str]:
    """Return a text's words as the first tokenizer did."""
    return WORD.findall(BREAK.sub(" ", text).lower())


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare, print and write."""
    parser = Parser(prog="python -m benchmarks.tokens", description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True, help="folder that contains aclImdb")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args(arguments)
    with one_line_errors(parser.prog, "--data-dir"):
        reviews = ReviewFolder(options.data_dir / "aclImdb")
        files = [file for part in ("train", "test") for file in reviews.labeled(part)[0]]
        counts = {
            "reviews": len(files),
            "different_reviews": 0,
            "words": 0,
            "different_words": 0,
            "words_in_their_place": 0,
        }
        for text in Texts(files, progress=True):
            old, new = first_tokenizer(text), tokenize(text)
            counts["words"] += len(old)
            if old == new:
                continue
            counts["different_reviews"] += 1
            for kind, *bounds in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
                if kind != "equal":
                    counts["different_words"] += bounds[1] - bounds[0]
                    counts["words_in_their_place"] += bounds[3] - bounds[2]
        print(json.dumps(counts))
        result = {"command": "python -m benchmarks.tokens --data-dir DIR", **counts}
        write(options.out, json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
