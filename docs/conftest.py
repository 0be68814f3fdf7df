"""Which files here contain examples for pytest."""

import importlib.util

#: Not the gallery's generated scripts, which train when they are imported.
collect_ignore = ["gallery"]
if importlib.util.find_spec("sphinx_gallery") is None or importlib.util.find_spec("latex2mathml") is None:
    collect_ignore += ["arxiv_links.py", "conf.py", "mathml.py", "signatures.py"]
