"""Keys that are pressed anywhere on the page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from panel.custom import JSComponent


class Shortcuts(JSComponent):
    """Listens to the keyboard and calls back with the name of a key.

    Keys that are typed into fields are left alone, but for Alt with an arrow.

    Parameters
    ----------
    pressed : callable
        Called with names such as "1", "e", "Control+z", "Alt+ArrowRight".
    """

    _esm = """
    export function render({ model }) {
      const wanted = /^(\\d|[bepft[\\]]|Control\\+[zyZ]|Alt\\+Arrow(Left|Right))$/
      const listen = (event) => {
        const target = event.composedPath()[0]
        const name = (event.ctrlKey || event.metaKey ? "Control+" : "") +
          (event.altKey ? "Alt+" : "") + event.key
        const typing = target instanceof HTMLElement &&
          (/^(TEXTAREA|SELECT)$/.test(target.tagName) ||
            (target.tagName === "INPUT" && !/^(radio|checkbox|range)$/.test(target.type)))
        if (!wanted.test(name) || (typing && !event.altKey)) return
        event.preventDefault()
        model.send_msg(name)
      }
      const turned = (event) => {     // the wheel alone zooms
        if (!event.shiftKey) return
        event.preventDefault()
        event.stopPropagation()
        model.send_msg(event.deltaX + event.deltaY < 0 ? "]" : "[")
      }
      // Tables go to the clipboard as text with tabs, which spreadsheets and papers take.
      const copied = async (event) => {
        const button = event.composedPath()[0]
        if (!(button instanceof HTMLElement) || !button.matches("button.copy")) return
        const rows = [...button.closest(".copied-table").querySelectorAll("tr")]
        const cells = row => [...row.cells].flatMap(cell =>
          [cell.textContent.trim(), ...Array(cell.colSpan - 1).fill("")])
        try {
          await navigator.clipboard.writeText(rows.map(r => cells(r).join("\\t")).join("\\n"))
          button.textContent = "Copied"
        } catch { button.textContent = "The browser does not allow it" }
        setTimeout(() => { button.textContent = "Copy" }, 2000)
      }
      const wheel = {capture: true, passive: false}
      document.addEventListener("keydown", listen)
      document.addEventListener("click", copied)
      document.addEventListener("wheel", turned, wheel)
      model.on("remove", () => {
        document.removeEventListener("keydown", listen)
        document.removeEventListener("click", copied)
        document.removeEventListener("wheel", turned, wheel)
      })
    }
    """

    def __init__(self, pressed: Callable[[str], None], **options: Any) -> None:
        super().__init__(**{"width": 0, "height": 0, "margin": 0, **options})
        self._pressed = pressed

    def _handle_msg(self, message: Any) -> None:
        self._pressed(str(message))
