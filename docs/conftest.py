"""Which files here contain examples for pytest."""

import importlib.util

#: Not the gallery's generated scripts, which train when they are imported.
collect_ignore = ["gallery"]
if not all(importlib.util.find_spec(name) for name in ("sphinx_gallery", "latex2mathml", "nbclient")):
    collect_ignore += ["arxiv_links.py", "conf.py", "mathml.py", "notebooks.py", "signatures.py"]
