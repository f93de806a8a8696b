"""Names of fields for screen readers, which some widgets show but do not tell."""

from __future__ import annotations

from typing import Any

from panel.custom import JSComponent


class Labels(JSComponent):
    """Names what has a text beside it and no label: check boxes, sliders, tools of figures.

    Fields come and go in shadow trees, which no observer of the page sees: they are looked
    through once a second, which takes less than a millisecond.
    """

    _esm = """
    export function render({ model }) {
      document.documentElement.lang = "en"
      const name = (element, text) => {
        if (text && element.getAttribute("aria-label") !== text)
          element.setAttribute("aria-label", text)
      }
      const text = (root, selector) => root.querySelector(selector)?.textContent.trim()
      const look = (root) => {
        for (const input of root.querySelectorAll("input[type=checkbox]"))
          if (!input.closest("label")) name(input, text(root, ".bk-label"))
        for (const handle of root.querySelectorAll(".noUi-handle"))
          name(handle, text(root, ".bk-slider-title")?.split(":")[0])
        for (const button of root.querySelectorAll(".bk-spin-btn"))
          name(button, button.classList.contains("bk-spin-btn-up") ? "more" : "less")
        for (const group of root.querySelectorAll(".bk-btn-group")) {
          group.setAttribute("role", "group")
          for (const button of group.querySelectorAll("button"))
            button.setAttribute("aria-pressed", String(button.classList.contains("bk-active")))
        }
        for (const scrolled of root.querySelectorAll(":scope > :not(style)"))
          if (scrolled.scrollHeight > scrolled.clientHeight + 1 &&
              /auto|scroll/.test(getComputedStyle(scrolled).overflowY) && scrolled.tabIndex < 0)
            scrolled.tabIndex = 0
        for (const element of root.querySelectorAll("*"))
          if (element.shadowRoot) look(element.shadowRoot)
      }
      const timer = setInterval(() => look(document), 1000)
      look(document)
      document.querySelector("body > div")?.setAttribute("role", "main")
      model.on("remove", () => clearInterval(timer))
    }
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"width": 0, "height": 0, "margin": 0, **options})
