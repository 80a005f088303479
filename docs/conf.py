"""Configuration of the documentation, built by ``make docs``."""

import logging
import os
import re
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike
from sphinx.application import Sphinx
from sphinx.util.typing import stringify_annotation
from torch import nn

import disvae
from disvae.data import dsprites
from disvae.metrics import discretise

# Executed pages use one thread: sums are then added in one order, and give the same digits.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Pages that show the papers' experiments read the runs by the modules that made them.
os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])

# myst-nb would announce every page it executes, also under -q.
logging.getLogger("traitlets").setLevel(logging.WARNING)

project = "disvae"
author = "The disvae developers"
copyright = "The disvae developers"
version = release = disvae.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]
default_role = "code"

html_theme = "furo"
html_title = f"disvae {release}"
html_copy_source = False
html_show_sphinx = False
html_static_path = ["_static"]
html_css_files = ["disvae.css"]

myst_enable_extensions = ["deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "force"  # never an output of older code
nb_execution_in_temp = True  # the pages may write pictures
nb_execution_raise_on_error = True
nb_execution_timeout = 600  # seconds a cell, on a busy machine
nb_merge_streams = True

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autosummary_ignore_module_all = False
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = ["Shape", ("Attributes", "params_style")]

# What autodoc would spell out, or leave as the name of a private constant.
_ARRAY_LIKE = stringify_annotation(ArrayLike, "smart")
_NDARRAY = re.compile(r"~numpy\.ndarray\[~?tuple\[.*?\], ~numpy\.dtype\[([^]]+)\]\]")
_DEFAULTS = {
    "CODE_BINS": discretise.CODE_BINS,
    "FACTOR_BINS": discretise.FACTOR_BINS,
    "_SIDE": dsprites._SIDE,
}


def shorten(
    app: Sphinx,
    what: str,
    name: str,
    obj: Any,
    options: Any,
    signature: str | None,
    return_annotation: str | None,
) -> tuple[str | None, str | None]:
    """Signatures as they are written, with the values of default constants."""
    if what == "class" and obj.__init__ is nn.Module.__init__:
        signature = "()"  # it takes no arguments, though nn.Module names any
    if signature is not None:
        signature = signature.replace(_ARRAY_LIKE, "ArrayLike")
        signature = _NDARRAY.sub(r"NDArray[\1]", signature)
        for constant, value in _DEFAULTS.items():
            signature = signature.replace(f"= {constant}", f"= {value}")
    return signature, return_annotation


def setup(app: Sphinx) -> None:
    app.connect("autodoc-process-signature", shorten)
