"""The road of a run as a diagram in text, from the code: ``python docs/_ext/road_diagram.py``."""

from __future__ import annotations

import inspect
from pathlib import Path

import siftem
from siftem.pipeline.road import ROAD


def diagram() -> str:
    """One line a step; below each name hangs a line as far as its last reader, who is marked."""
    package = Path(siftem.__file__).parent
    last = {p: place for place, step in enumerate(ROAD) for p in step.parents}
    lines = []
    for place, step in enumerate(ROAD):
        lanes = "".join(
            "●" if above.name in step.parents else "│" if last.get(above.name, 0) > place else " "
            for above in ROAD[:place]
        )
        lanes += "╷" if step.name in last else " "
        file = Path(inspect.getfile(step.owns)).relative_to(package).as_posix()
        lines.append(f"{step.name:<12} {lanes:<{len(ROAD)}} {step.gives:<32} {file}".rstrip())
    return "\n".join(lines)


if __name__ == "__main__":
    print(diagram())
