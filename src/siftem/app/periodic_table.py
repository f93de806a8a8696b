"""A periodic table on which elements are chosen, with the lines that the map shows of each."""

from __future__ import annotations

import html
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import param
from panel.custom import JSComponent

from siftem.figures.line_labels import line_text
from siftem.fit.element_search import FoundElement, find_elements
from siftem.fit.line_search import CANDIDATES
from siftem.spectrum_image import SpectrumImage
from siftem.unmixing.integrate import integrate

#: What an element can be, in the order of clicks; the last is nothing in particular.
STATES = ("quantify", "support", "absent", "")
#: Rows of the table; numbers are empty places.
_ROWS = (
    "H 16 He",
    "Li Be 10 B C N O F Ne",
    "Na Mg 10 Al Si P S Cl Ar",
    "K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr",
    "Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe",
    "Cs Ba 1 Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn",
    "Fr Ra",
    "3 La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu",
    "3 Ac Th Pa U Np Pu Am Cm Bk Cf",
)


def places() -> list[tuple[str, int, int]]:
    """Return symbol, row and column, from 1, of each element."""
    found = []
    for y, line in enumerate(_ROWS, start=1):
        x = 1
        for part in line.split():
            if part.isdigit():
                x += int(part)
            else:
                found.append((part, y, x))
                x += 1
    return found


class PeriodicTable(JSComponent):
    """Elements as buttons; a click goes on to the next state.

    Parameters
    ----------
    chosen : callable
        Called with a symbol that was clicked.
    """

    places = param.List(default=places(), doc="Symbol, row and column of each element.")
    states = param.Dict(default={}, doc="State by symbol.")
    seen = param.Dict(default={}, doc="Standard deviations by symbol, as far as it was looked for.")

    _esm = """
    export function render({ model, el }) {
      const style = document.createElement("style")
      style.textContent = `
        .all { display: grid; grid-template-columns: repeat(18, minmax(21px, 44px)); gap: 2px;
          padding: 2px 4px; }
        .legend { grid-area: 1 / 3 / 4 / 13; display: flex; flex-direction: column;
          justify-content: center; gap: 3px; padding-left: 10px;
          font: 11px/1.1 "Segoe UI", "Helvetica Neue", Arial, "DejaVu Sans", sans-serif;
          color: var(--siftem-ink, #1d1d1f); }
        .legend span { padding: 0 5px; margin-right: 5px; }
        button { height: 24px; padding: 0; border: 1px solid var(--siftem-line, #c8c8c8);
          border-radius: 3px; cursor: pointer; color: var(--siftem-ink, #1d1d1f);
          background: var(--siftem-field, #ffffff);
          font: 12px/1 "Segoe UI", "Helvetica Neue", Arial, "DejaVu Sans", sans-serif; }
        button small { display: block; font-size: 8.5px; height: 9px; }
        button small:empty { display: none; }
        button:focus-visible { outline: 3px solid #E69F00; outline-offset: 1px; }
        .quantify { background: #0060a0; color: #ffffff; font-weight: 700; }
        .support { background: #8a5200; color: #ffffff; font-weight: 700; }
        .absent { text-decoration: line-through; border-style: dashed; }
        .seen { border: 2px solid #E69F00; }`
      const all = document.createElement("div")
      all.className = "all"
      el.append(style, all)
      const words = {quantify: "to quantify", support: "from grid and preparation",
                     absent: "known to be absent", seen: "peaks in the sum of all pixels, σ"}
      const legend = document.createElement("div")
      legend.className = "legend"
      const swatches = [["quantify", "Fe"], ["support", "Cu"], ["absent", "He"], ["seen", "5"]]
      for (const [kind, text] of swatches) {
        const line = document.createElement("div"), swatch = document.createElement("span")
        swatch.className = kind
        swatch.textContent = text
        line.append(swatch, words[kind])
        legend.append(line)
      }
      all.append(legend)
      const buttons = {}
      for (const [symbol, row, column] of model.places) {
        const button = document.createElement("button")
        button.style.gridArea = `${row} / ${column}`
        button.append(symbol, document.createElement("small"))
        button.addEventListener("click", () => model.send_msg(symbol))
        all.append(button)
        buttons[symbol] = button
      }
      const draw = () => {
        for (const [symbol, button] of Object.entries(buttons)) {
          const state = model.states[symbol] ?? "", sigma = model.seen[symbol]
          button.className = state + (sigma === undefined ? "" : " seen")
          button.lastChild.textContent = sigma === undefined ? "" : Math.round(sigma)
          button.title = [symbol, words[state] ?? "not chosen",
            ...(sigma === undefined ? [] : [`seen with ${Math.round(sigma)} σ`])].join(", ")
          button.setAttribute("aria-label", button.title)
        }
      }
      model.on("states", draw)
      model.on("seen", draw)
      draw()
    }
    """

    def __init__(self, chosen: Callable[[str], None], **options: Any) -> None:
        super().__init__(**options)
        self._chosen = chosen

    def _handle_msg(self, message: Any) -> None:
        self._chosen(str(message))


def states_of(lists: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return the state by symbol of elements that are listed by state."""
    return {symbol: state for state, symbols in lists.items() for symbol in symbols}


def next_lists(lists: Mapping[str, Sequence[str]], symbol: str) -> dict[str, tuple[str, ...]]:
    """Return the lists after a click on an element: it goes on to its next state."""
    now = states_of(lists).get(symbol, "")
    following = STATES[(STATES.index(now) + 1) % len(STATES)]
    out = {state: tuple(s for s in lists.get(state, ()) if s != symbol) for state in STATES[:-1]}
    if following:
        out[following] = (*out[following], symbol)
    return out


def evidence_html(found: Sequence[FoundElement]) -> str:
    """Tabulate what the sum of all pixels shows of each element, as HTML."""
    if not found:
        return (
            "<p class='hint'>“Find elements” tells which elements the sum of all pixels shows, "
            "by which lines, and how clearly.</p>"
        )
    rows = []
    for one in found:
        lines = ", ".join(
            f"{line_text(one.element, e.name)} {e.energy:.2f} keV: {e.significance:.0f} σ"
            for e in one.evidence
        )
        lines += one.caveat
        rows.append(
            f"<tr><th>{html.escape(one.element)}</th><td>{one.significance:.0f} σ</td>"
            f"<td>{one.counts:,.0f}</td><td class='name wrapped'>{html.escape(lines)}</td></tr>"
        )
    head = "".join(
        f"<th class='{kind}'>{text}</th>"
        for kind, text in (
            ("name", "element"),
            ("", "significance"),
            ("", "counts"),
            ("name", "by its peaks"),
        )
    )
    return (
        "<table><caption>What the sum of all pixels shows</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        "<p class='hint'>σ holds counting and what the model of the peaks leaves. An element from "
        "grid or preparation belongs to the support: it is fitted and left out of "
        "compositions.</p>"
    )


def found_elements(si: SpectrumImage, absent: Collection[str] = ()) -> tuple[FoundElement, ...]:
    """Return the elements whose lines are seen, most counts first.

    Parameters
    ----------
    si : SpectrumImage
    absent : collection of str
        Elements that are not there, as the user knows: their lines are given to others.
    """
    whole = integrate(si, np.ones(si.shape, bool), name="all pixels")
    return find_elements(whole, candidates=[e for e in CANDIDATES if e not in absent])
