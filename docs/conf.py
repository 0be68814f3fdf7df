"""Sphinx configuration: `sphinx-build -W docs docs/_build/html`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from sphinx_gallery.sorting import ExplicitOrder

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
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "arxiv_links",
    "check_api",
    "mathml",
    "notebooks",
    "signatures",
]
exclude_patterns = ["_build"]
html_math_renderer = "mathml"

html_theme = "furo"
html_title = f"forwardforward {release}"
html_static_path = ["_static"]
html_css_files = ["wide.css"]
html_search_scorer = str(Path(__file__).parent / "search_scorer.js")
toc_object_entries_show_parents = "hide"

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

# A module's page documents the names in its __all__, in source order.
autodoc_default_options = {"members": True, "exclude-members": "extra_repr"}
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
autodoc_preserve_defaults = True
# Types stand in signatures, one parameter per line where a line is too short, and beside the parameters' descriptions.
autodoc_typehints = "both"
autodoc_typehints_description_target = "documented_params"
python_maximum_signature_line_length = 100
autodoc_typehints_format = "short"
# Numbers in a range, such as PositiveInt, are shown by name, and not as Annotated[int, Range(...)].
autodoc_type_aliases = {name: name for name in (*arguments.__all__, "Data")}
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

# The button copies the input of an example, without prompts and outputs.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

#: Order of the examples; others follow.
GALLERY = (
    "mnist",
    "own_goodness",
    "own_negatives",
    "unsupervised",
    "convolutional",
    "trifecta",
    "imdb",
    "diagnostics",
    "saving",
    "backpropagation",
    "mixer",
    "transformer",
    "mixup",
    "multi_label",
    "regression",
)
# Scripts become pages and notebooks; all of them run during the build, and a failure ends it.
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "within_subsection_order": ExplicitOrder([*(f"{name}.py" for name in GALLERY), "*"]),
    "image_srcset": ["2x"],
    "first_notebook_cell": '# Install the library first, in a checkout: pip install -e ".[all]"',
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
    "reference_url": {"forwardforward": None},
    "backreferences_dir": None,
}
