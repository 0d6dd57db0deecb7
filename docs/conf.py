"""Sphinx's settings. `./dev docs` builds the pages; every warning is an error there and in tests/test_docs.py."""

from __future__ import annotations

import inspect
from typing import Any

import trio_hs

project = "trio-hs"
author = "the trio-hs authors"
project_copyright = author
release = trio_hs.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinxcontrib_trio"]
exclude_patterns = ["_build"]

myst_heading_anchors = 3

# Longer signatures get a line for each parameter.
maximum_signature_line_length = 100

autodoc_member_order = "bysource"
# sphinxcontrib-trio adds its marks through the older of Sphinx's two implementations.
autodoc_use_legacy_class_based = True

html_theme = "alabaster"
html_theme_options = {
    "description": "A trio client for MariaDB's HandlerSocket",
    "page_width": "1200px",
    "body_max_width": "none",
    "sidebar_width": "240px",
    "fixed_sidebar": True,
    "show_powered_by": False,
}
html_show_copyright = False
html_static_path = ["style.css"]
html_css_files = ["style.css"]

# The build does not use the network, so it cannot link to Python's and trio's pages. A name of ours without a target is
# still an error.
nitpick_ignore_regex = [
    (
        "py:.*",
        r"(opentelemetry|trace|metrics|trio|collections|logging|datetime|decimal|builtins|contextlib|os|random|typing)\..*",
    ),
    ("py:class", r"(.*\.)?[RT]"),  # variables of types
    ("py:class", r"Any|AsyncIterator|BaseException|Collection|EmbeddedServer|Iterable|Mapping|Path|Sequence|Source|Transport"),
]


class _Text(str):
    """A text that signatures show without quotes."""

    __repr__ = str.__str__


def _as_written(
    _app: Any, _what: str, _name: str, obj: Any, _options: Any, signature: str | None, returns: str | None
) -> tuple[str, str] | None:
    """The signature with its annotations as the source has them; evaluated, each `Value` would be twelve types."""
    if not signature or signature == "()":
        return None
    written = inspect.signature(obj)
    parameters = [
        parameter.replace(
            annotation=_Text(parameter.annotation),
            default=_Text("...") if inspect.isfunction(parameter.default) else parameter.default,
        )
        for parameter in written.parameters.values()
        if parameter.name != "self"
    ]
    bare = written.replace(parameters=parameters, return_annotation=inspect.Signature.empty)
    result = str(written.return_annotation) if returns else ""
    # `async with f()` gives what the generator behind it yields.
    return str(bare), result.removeprefix("AsyncIterator[").removesuffix("]") if hasattr(obj, "__wrapped__") else result


def setup(app: Any) -> None:
    app.connect("autodoc-process-signature", _as_written)
