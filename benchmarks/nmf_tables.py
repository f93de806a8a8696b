"""Tables of figures, for eyes (Markdown) and for programs (JSON), and the bars they are held to."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

Cell = str | float | int


@dataclass(eq=False)
class Report:
    """What a run measured.

    A wrong answer raises at once; a bar of speed or memory that is missed is written down.
    """

    tables: dict[str, list[dict[str, Cell]]] = field(default_factory=dict)
    bars: list[dict[str, Cell]] = field(default_factory=list)

    def table(self, title: str, rows: list[dict[str, Cell]]) -> None:
        """Keep and print a table, whose columns are the keys of its first row."""
        self.tables[title] = rows
        print(f"\n### {title}\n")
        print("| " + " | ".join(rows[0]) + " |")
        print("|" + "---|" * len(rows[0]))
        for row in rows:
            print("| " + " | ".join(_text(row.get(key, "")) for key in rows[0]) + " |")
        print(flush=True)

    def bar(self, what: str, found: float, needed: str) -> None:
        """Note whether ``found`` meets ``needed``, a relation and a number such as ">= 500"."""
        relation, limit = needed.split()
        met = {"<=": found <= float(limit), ">=": found >= float(limit)}[relation]
        row: dict[str, Cell] = {
            "bar": what,
            "needed": needed,
            "found": found,
            "met": "yes" if met else "no",
        }
        self.bars.append(row)

    def finish(self, path: Path | None) -> None:
        """Print the bars and write all of it to ``path``."""
        if self.bars:
            self.table("Bars", self.bars)
        if path is not None:
            content = {"machine": machine(), "tables": self.tables}
            path.write_text(json.dumps(content, indent=1))


def machine() -> dict[str, Cell]:
    """Processor, memory, load and versions."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        model = next((x.split(":")[1].strip() for x in lines if "model name" in x), model)
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found: dict[str, Cell] = {
        "processor": model,
        "cores": os.cpu_count() or 1,
        "memory GB": round(pages / 2**30, 1),
        "load at the start": round(os.getloadavg()[0], 1),
        "system": platform.system() + " " + platform.release().split("-")[0],
        "python": platform.python_version(),
    }
    names = ("siftem", "numpy", "scipy", "numba", "scikit-learn", "hyperspy")
    return found | {name: version(name) for name in names}


def _text(cell: Cell) -> str:
    if isinstance(cell, float):
        return f"{cell:.0f}" if abs(cell) >= 1000 else f"{cell:.3g}"
    return str(cell)
