"""Check that every link and picture inside the built manual leads somewhere.

    python docs/check_links.py docs/_build/html

Addresses of other sites are checked by ``python -m sphinx -b linkcheck``, which needs a network.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """Links that a page holds, and the places that it offers."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect href, src, id and name."""
        for key, value in attrs:
            if value and key in ("href", "src"):
                self.links.append(value)
            elif value and key in ("id", "name"):
                self.places.add(value)


def broken_links(root: Path) -> list[str]:
    """Return one line for each link that leads nowhere."""
    files = (p for p in root.rglob("*.html") if "_static" not in p.parts)
    pages = {p.resolve(): Page(p.read_text(encoding="utf-8")) for p in files}
    broken = []
    for file, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            if not target.exists():
                broken.append(f"{file.relative_to(root.resolve())}: {link}: no such file")
                continue
            known = pages[target].places if target in pages else None
            if parts.fragment and known is not None and unquote(parts.fragment) not in known:
                broken.append(f"{file.relative_to(root.resolve())}: {link}: no such place")
    return broken


if __name__ == "__main__":
    found = broken_links(Path(sys.argv[1]))
    print("\n".join(found) or "all links lead somewhere")
    sys.exit(bool(found))
