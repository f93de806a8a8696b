"""How the page looks: sizes for a laptop's screen, colours with contrast."""

from __future__ import annotations

import html

#: Width of the column with the controls, and of what is beside it, screen pixels: with the
#: scroll bar they fit on a screen of 1366.
CONTROLS = 286
CONTENT = 1030
#: Height of a step: on a screen of 768 with the browser's bars nothing has to be scrolled.
HEIGHT = 536

PAGE_CSS = """
:root, :host { font-family: "Segoe UI", "Helvetica Neue", Arial, "DejaVu Sans", sans-serif;
  color: #1d1d1f; }
body { margin: 0; background: #ffffff; }
"""

#: For every button and field: a visible focus for those who use the keyboard.
CONTROL_CSS = """
:host { font-family: "Segoe UI", "Helvetica Neue", Arial, "DejaVu Sans", sans-serif; }
.bk-btn-success { background-color: #1a7f37 !important; border-color: #1a7f37 !important; }
.bk-btn:focus-visible, .bk-input:focus-visible, input:focus-visible, .noUi-handle:focus-visible
  { outline: 3px solid #E69F00 !important; outline-offset: 1px; }
"""

TEXT_CSS = """
:host { font-family: "Segoe UI", "Helvetica Neue", Arial, "DejaVu Sans", sans-serif;
  font-size: 13px; line-height: 1.35; color: #1d1d1f; }
h2 { font-size: 15px; margin: 2px 0 4px; }
p { margin: 2px 0; }
table { border-collapse: collapse; font-size: 12.5px; margin: 0 0 8px; }
caption { text-align: left; font-weight: 600; padding: 2px 0 3px; }
th, td { padding: 1.5px 7px; text-align: right; white-space: nowrap; }
thead th { border-bottom: 1.5px solid #1d1d1f; }
thead th[colspan] { text-align: center; }
th.name, td.name, tbody th { text-align: left; font-weight: 500; }
td.error, td.systematic { padding-left: 0; text-align: left; color: #555555; }
td.flag { color: #9c1c00; font-weight: 700; }
td.below { color: #555555; font-style: italic; }
tbody tr:nth-child(even) { background: #f5f6f8; }
.note, .hint { color: #555555; font-size: 12px; white-space: normal; }
.swatch { display: inline-block; width: 11px; height: 11px; margin-right: 6px;
  border: 1px solid #666666; vertical-align: -1px; }
.error-line { color: #9c1c00; font-weight: 600; }
code { font-size: 12px; background: #f0f1f4; padding: 1px 4px; }
"""


def phase_button_css(colour: str, chosen: bool) -> str:
    """Return the style of a button that stands for a phase: its colour, and whether it is on."""
    ring = "#1d1d1f" if chosen else "#c8c8c8"
    weight = "700" if chosen else "400"
    return (
        CONTROL_CSS
        + f""".bk-btn {{ border: 2px solid {ring} !important; background: #ffffff !important;
 box-shadow: inset 14px 0 0 {colour} !important; padding-left: 24px !important;
 color: #1d1d1f !important; font-weight: {weight}; text-align: left; }}"""
    )


def swatch(colour: str) -> str:
    """Return a small square of a colour as HTML."""
    return f'<span class="swatch" style="background:{html.escape(colour)}"></span>'


def paragraph(text: str, kind: str = "") -> str:
    """Return text as an HTML paragraph, safely."""
    return f'<p class="{kind}">{html.escape(text)}</p>'
