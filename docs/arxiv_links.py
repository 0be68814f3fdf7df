"""Sphinx extension that links identifiers of papers: "arXiv 2212.13345" in a text becomes a link to its abstract."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.transforms import SphinxTransform

IDENTIFIER = re.compile(r"arXiv[ :]?(?P<number>\d{4}\.\d{4,5})")
UNLINKED = (nodes.literal, nodes.literal_block, nodes.reference, nodes.title, nodes.raw)


class LinkIdentifiers(SphinxTransform):
    """Replaces identifiers in the text of a document by links."""

    default_priority = 500

    def apply(self, **kwargs: Any) -> None:
        """Replace them."""
        for text in list(self.document.findall(nodes.Text)):
            matches = list(IDENTIFIER.finditer(text))
            if matches and not any(isinstance(ancestor, UNLINKED) for ancestor in _ancestors(text)):
                text.parent.replace(text, list(_linked(text, matches)))


def _ancestors(node: nodes.Node) -> list[nodes.Element]:
    ancestors = []
    while node.parent is not None:
        node = node.parent
        ancestors.append(node)
    return ancestors


def _linked(text: str, matches: list[re.Match[str]]) -> list[nodes.Node]:
    parts: list[nodes.Node] = []
    end = 0
    for match in matches:
        if match.start() > end:
            parts.append(nodes.Text(text[end : match.start()]))
        address = f"https://arxiv.org/abs/{match['number']}"
        parts.append(nodes.reference("", match[0], refuri=address, internal=False))
        end = match.end()
    if end < len(text):
        parts.append(nodes.Text(text[end:]))
    return parts


def setup(app: Any) -> dict[str, bool]:
    """Register the extension with Sphinx."""
    app.add_transform(LinkIdentifiers)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
