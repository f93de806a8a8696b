"""How the page looks: sizes for a laptop's screen, colours with contrast."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any

from siftem.printed_numbers import plus_minus

#: Least and largest width of the column with the controls, with its scroll bar, screen pixels, and
#: what part of a wide window it takes between these.
_CONTROLS, _CONTROLS_PART = (302, 460), 0.115
#: What steps, status line and margins take of a window.
_BESIDE, _ABOVE = 24, 84
#: Less than the output of a cell in a notebook has (1148 wide) is scrolled.
_LEAST_CONTENT, _LEAST_HEIGHT = 822, 470


@dataclass(frozen=True)
class Room:
    """The room that a step has on the page, and the colours of what is drawn in it.

    Parameters
    ----------
    window : tuple of int
        Width and height of the browser's window, CSS pixels.
    dark : bool
    """

    window: tuple[int, int] = (1366, 650)
    dark: bool = False

    @property
    def controls(self) -> int:
        """Width of the column with the controls."""
        least, most = _CONTROLS
        return min(most, max(least, round(_CONTROLS_PART * self.window[0])))

    @property
    def content(self) -> int:
        """Width beside the controls."""
        return max(_LEAST_CONTENT, self.window[0] - self.controls - _BESIDE)

    @property
    def height(self) -> int:
        """Height of a step."""
        return max(_LEAST_HEIGHT, self.window[1] - _ABOVE)


#: Colours of the page, light and dark, each with a contrast of at least 4.5 to its ground.
THEME_CSS = """
html { color-scheme: light; background: #ffffff; }
body { margin: 0; }
html.siftem-dark { color-scheme: dark; background: #17181b;
  --siftem-paper: #17181b; --siftem-ink: #e9e9ec; --siftem-quiet: #b3b3ba;
  --siftem-stripe: #222429; --siftem-line: #4a4c53; --siftem-alarm: #ff8f73;
  --siftem-field: #26282d; --siftem-link: #7cc0ff;
  --design-background-color: #26282d; --design-background-text-color: #e9e9ec;
  --design-surface-color: #26282d; --design-surface-text-color: #e9e9ec;
  --panel-background-color: #17181b; --panel-on-background-color: #e9e9ec;
  --panel-surface-color: #26282d; --panel-on-surface-color: #e9e9ec;
  --panel-border-color: #4a4c53; }
html.siftem-dark body { background: #17181b; }
"""

#: Of figures, on a light and on a dark page.
PAPER, INK = ("#ffffff", "#17181b"), ("#1d1d1f", "#e9e9ec")
_GRID, _QUIET = ("#eeeeee", "#2b2d33"), ("#666666", "#9a9aa2")
#: Lines at energies, seen and yet fainter than any curve.
MARKED = ("#bbbbbb", "#5c5f68")

PAGE_CSS = """
:host { font-family: "Segoe UI", "Helvetica Neue", Arial, "DejaVu Sans", sans-serif;
  color: var(--siftem-ink, #1d1d1f); background: var(--siftem-paper, #ffffff); }
"""

#: Of what changes its size: Panel would keep the first width as the least one.
RESIZED = "fixed"

#: What is wider than its place is scrolled by itself, never the page.
SCROLLED_CSS = ":host { overflow: auto !important; }"

#: The column with the controls is scrolled up and down, never sideways.
COLUMN_CSS = ":host { overflow-x: hidden !important; }"

#: For every button and field: a visible focus for those who use the keyboard.
CONTROL_CSS = """
:host { font-family: "Segoe UI", "Helvetica Neue", Arial, "DejaVu Sans", sans-serif; }
.bk-btn-success { background-color: #1a7f37 !important; border-color: #1a7f37 !important; }
.bk-btn-default { background: var(--siftem-field, #f2f2f3) !important;
  color: var(--siftem-ink, #1d1d1f) !important; }
.bk-btn-default.bk-active { background: var(--siftem-line, #d5d6da) !important; }
.bk-input { background-color: var(--siftem-field, #ffffff); color: var(--siftem-ink, #1d1d1f);
  border-color: var(--siftem-line, #b8b8bd); }
/* Bokeh's own sliders are white, on a dark page too. */
.noUi-target { background: var(--siftem-line, #f4f4f5) !important; box-shadow: none !important;
  border-color: var(--siftem-line, #c8c8cc) !important; }
.noUi-connect { background: #5a8fbf !important; }
/* Bokeh's own arrows are black, on a dark page too. */
.bk-spin-btn:before { border-top-color: var(--siftem-quiet, #555555) !important;
  border-bottom-color: var(--siftem-quiet, #555555) !important; }
select:not([multiple]).bk-input { background-image: url('data:image/svg+xml;utf8,\
<svg viewBox="0 0 25 20" xmlns="http://www.w3.org/2000/svg">\
<path d="M 0,0 25,0 12.5,20 Z" fill="%23808088"/></svg>'); }
label, .bk-slider-title, .bk-input-group { color: var(--siftem-ink, #1d1d1f); }
.bk-btn:focus-visible, .bk-input:focus-visible, input:focus-visible, .noUi-handle:focus-visible
  { outline: 3px solid #E69F00 !important; outline-offset: 1px; }
"""

#: Of what is as wide as the column that it stands in, and of fields among the controls.
WIDE: dict[str, Any] = {"sizing_mode": "stretch_width", "width": None}
FIELD: dict[str, Any] = {**WIDE, "stylesheets": [CONTROL_CSS], "margin": (2, 8)}

TEXT_CSS = """
:host { font-family: "Segoe UI", "Helvetica Neue", Arial, "DejaVu Sans", sans-serif;
  font-size: 13px; line-height: 1.35; color: var(--siftem-ink, #1d1d1f); }
h2 { font-size: 15px; margin: 2px 0 4px; }
p { margin: 2px 0; }
table { border-collapse: collapse; font-size: 12px; margin: 0 0 8px; }
caption { text-align: left; font-weight: 600; padding: 2px 0 3px; }
.tables { display: flex; flex-wrap: wrap; gap: 0 22px; align-items: flex-start; }
th, td { padding: 1.5px 3px; text-align: right; white-space: nowrap; }
thead th { white-space: normal; vertical-align: bottom; }
thead th { border-bottom: 1.5px solid var(--siftem-ink, #1d1d1f); }
thead th[colspan] { text-align: center; }
th.name, td.name, tbody th { text-align: left; font-weight: 500; }
td.wrapped { white-space: normal; }
td.error, td.systematic { padding-left: 0; text-align: left; color: var(--siftem-quiet, #555555); }
td.flag { color: var(--siftem-alarm, #9c1c00); font-weight: 700; }
td.below { color: var(--siftem-quiet, #555555); font-style: italic; }
tbody tr:nth-child(even) { background: var(--siftem-stripe, #f5f6f8); }
.note, .hint { color: var(--siftem-quiet, #555555); font-size: 12px; white-space: normal; }
.swatch { display: inline-block; width: 11px; height: 11px; margin-right: 6px;
  border: 1px solid #666666; vertical-align: -1px; }
/* A long note would keep the next table from standing beside. */
.tables > .copied-table { width: min-content; min-width: 240px; }
/* Of many phases the table alone is scrolled sideways, and the elements stay. */
.copied-table { max-width: 100%; overflow-x: auto; }
.copied-table tbody th { position: sticky; left: 0; background: var(--siftem-paper, #ffffff); }
.copied-table tbody tr:nth-child(even) th { background: var(--siftem-stripe, #f5f6f8); }
.tables caption { white-space: nowrap; }
.copied-table > p.note { display: inline; margin-right: 8px; }
button.copy { font: inherit; font-size: 12px; border: none; background: none; padding: 0 0 8px;
  color: var(--siftem-link, #0050a0); text-decoration: underline; cursor: pointer; }
button.copy:focus-visible, a:focus-visible { outline: 3px solid #E69F00; }
a { color: var(--siftem-link, #0050a0); }
.error-line { color: var(--siftem-alarm, #9c1c00); font-weight: 600; }
code { font-size: 12px; background: var(--siftem-stripe, #f0f1f4); padding: 1px 4px; }
"""


def colour_figure(plot: Any, dark: bool) -> None:
    """Give a Bokeh figure the colours of a light or a dark page."""
    plot.background_fill_color = plot.border_fill_color = PAPER[dark]
    if plot.title is not None:
        plot.title.text_color = INK[dark]
    plot.grid.grid_line_color = _GRID[dark]
    plot.outline_line_color = _QUIET[dark]
    for axis in plot.axis:
        axis.axis_label_text_color = axis.major_label_text_color = INK[dark]
        axis.axis_line_color = axis.major_tick_line_color = _QUIET[dark]
        axis.minor_tick_line_color = _QUIET[dark]
    for legend in plot.legend:
        legend.background_fill_alpha = 0.0
        legend.label_text_color = INK[dark]


#: Styles of a button that stands for a phase: not chosen, chosen.
CHOSEN = (
    {"--edge": "var(--siftem-line, #c8c8c8)", "--weight": "400", "--chosen": "false"},
    {"--edge": "var(--siftem-ink, #1d1d1f)", "--weight": "700", "--chosen": "true"},
)


def phase_button_css(colour: str) -> str:
    """Return the style sheet of a button that stands for a phase; see `CHOSEN`."""
    return (
        CONTROL_CSS
        + f""".bk-btn {{ border: 2px solid var(--edge) !important;
 background: var(--siftem-field, #ffffff) !important;
 box-shadow: inset 14px 0 0 {colour} !important; padding-left: 24px !important;
 color: var(--siftem-ink, #1d1d1f) !important; font-weight: var(--weight); text-align: left; }}"""
    )


def swatch(colour: str) -> str:
    """Return a small square of a colour as HTML."""
    return f'<span class="swatch" style="background:{html.escape(colour)}"></span>'


def paragraph(text: str, kind: str = "") -> str:
    """Return text as an HTML paragraph, safely, and with the proper sign for "+-"."""
    return f'<p class="{kind}">{html.escape(plus_minus(text))}</p>'
