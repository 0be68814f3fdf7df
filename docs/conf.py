"""Sphinx configuration: `sphinx-build -W docs docs/_build/html`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import forwardforward
from forwardforward._utils import arguments

project = "forwardforward"
author = "The forwardforward developers"
copyright = f"2026, {author}"
version = release = forwardforward.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "check_api",
]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"forwardforward {release}"
html_static_path = ["_static"]
html_css_files = ["wide.css"]
toc_object_entries_show_parents = "hide"

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

# A module's page documents the names in its __all__, in source order.
autodoc_default_options = {"members": True, "exclude-members": "extra_repr"}
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
autodoc_preserve_defaults = True
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_typehints_format = "short"
# Numbers in a range, such as PositiveInt, are shown by name, and not as Annotated[int, Range(...)].
autodoc_type_aliases = {name: name for name in arguments.__all__}
autosummary_generate = False

napoleon_numpy_docstring = False
napoleon_use_ivar = True  # autodoc already documents the attributes listed under "Attributes:"
napoleon_custom_sections = ["Formula", "Shape", "Source", "Reference"]

# A reference to a missing name of this package is a warning, and -W turns it into an error. Names of other projects
# (torch.Tensor, Callable) are not linked, since the build works without network access.
nitpicky = True
nitpick_ignore_regex = [(r"py:.*", r"(?!forwardforward\.).*")]
# Part of the type Data, whose text describes it.
nitpick_ignore = [("py:class", "forwardforward.data.batching.MapStyleDataset")]
