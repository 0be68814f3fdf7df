"""Sphinx extension that renders formulas as MathML, which browsers show without scripts, fonts or a network.

latex2mathml converts the formulas during the build. It copies a command that it does not know into its output; that is
a warning here, which fails a build with ``-W``.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from latex2mathml import converter
from sphinx.util import logging


def _mathml(node: nodes.Element, display: str) -> str:
    mathml = converter.convert(node.astext(), display=display)
    if "\\" in mathml:
        logging.getLogger(__name__).warning("formula with an unknown command: %s", node.astext(), location=node)
    return mathml


def _inline(translator: Any, node: nodes.Element) -> None:
    translator.body.append(_mathml(node, "inline"))
    raise nodes.SkipNode


def _block(translator: Any, node: nodes.Element) -> None:
    translator.body.append(f'<div class="math">{_mathml(node, "block")}</div>')
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, bool]:
    """Register the renderer with Sphinx."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
