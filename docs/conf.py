"""Sphinx configuration of the documentation site: ``make docs``."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from pygments.lexers.special import TextLexer

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent), str(HERE.parent / "clients/python")]

from streamlearn import __version__  # noqa: E402 # the tree that this file is in

project = "streamlearn"
author = "streamlearn developers"
copyright = "streamlearn developers"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "generated"]
exclude_patterns = ["_build", "_ext", "data", "templates"]

# Markdown. Links between pages and to headings are checked: a link that leads nowhere is a warning, and
# the build treats warnings as errors.
myst_enable_extensions = ["attrs_block", "colon_fence", "deflist"]
myst_heading_anchors = 4
nitpicky = False

# Docstrings: numpydoc sections. Single backquotes are code, as in Markdown.
default_role = "code"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"

# No asset comes from another host: the site works without a network.
html_theme = "furo"
html_title = f"streamlearn {release}"
html_show_sphinx = False
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_theme_options = {"navigation_with_keys": True}


def escape_stars(app, what, name, obj, options, lines):
    """The star of a shape such as (*grid, dim) is not emphasis. Literals and examples stay as they are."""
    for number, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            parts = line.split("``")
            parts[::2] = [re.sub(r"(?<![*\\])\*(?=[a-z_])", r"\\*", part) for part in parts[::2]]
            lines[number] = "``".join(parts)


def skip(app, what, name, obj, skip, options):
    """Leave out what scikit-learn adds for its metadata routing."""
    return True if name.startswith("set_") and name.endswith("_request") else None


def setup(app):
    app.add_lexer("output", TextLexer)
    app.connect("autodoc-process-docstring", escape_stars, priority=100)  # before napoleon
    app.connect("autodoc-skip-member", skip)
