"""How the manual is built: ``python -m sphinx -W --keep-going docs docs/_build/html``."""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

import siftem  # noqa: E402

project = "siftem"
author = "The siftem developers"
project_copyright = "The siftem developers, GPL-3.0-or-later"
version = release = siftem.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "run_blocks",
    "generated_pages",
]
# `names` in docstrings lead to their pages where there are any.
default_role = "py:obj"
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "_ext", "*_scripts", "**/README.txt", "**/GALLERY_HEADER.rst"]
language = "en"

html_theme = "pydata_sphinx_theme"
html_title = f"siftem {version}"
html_static_path = ["_static"]
html_css_files = ["manual.css"]
html_show_sourcelink = False
html_theme_options = {
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "header_links_before_dropdown": 8,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {"comparison/index": [], "index": []}

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autosummary_generate = True
autodoc_typehints = "none"
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
napoleon_google_docstring = False
# Parameters that share a text are told once.
napoleon_use_param = False
napoleon_use_rtype = False
napoleon_use_ivar = True

sphinx_gallery_conf = {
    "examples_dirs": ["gallery_scripts", "explanation_scripts"],
    "gallery_dirs": ["gallery", "explanation"],
    "filename_pattern": r"/plot_",
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "remove_config_comments": True,
    "capture_repr": (),
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 1e9,
    "write_computation_times": False,
    "abort_on_example_error": True,
    "image_scrapers": ("matplotlib",),
    "matplotlib_animations": False,
    "reset_modules": ("matplotlib", "gallery_style.drawn_as_siftem"),
    "thumbnail_size": (600, 400),
}

# HyperSpy tells its own developers about imports that will move.
warnings.filterwarnings("ignore", module=r"hyperspy\..*")
# matplotlib's mathtext looks for fonts that it does not need.
logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
