"""Check that every link and picture inside the built manual leads somewhere.

    python docs/check_links.py docs/_build/html [--outside]

With ``--outside`` addresses of other sites are asked as well, each once; that needs a network.
"""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

#: Answers of a server that is there and does not let programs in.
_SHUT = (401, 403, 405, 429)


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


def pages_of(root: Path) -> dict[Path, Page]:
    """Return the pages of a built manual by their files."""
    files = (p for p in root.rglob("*.html") if "_static" not in p.parts)
    return {p.resolve(): Page(p.read_text(encoding="utf-8")) for p in files}


def broken_links(root: Path, pages: Mapping[Path, Page]) -> list[str]:
    """Return one line for each link inside the manual that leads nowhere."""
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


def unanswered(root: Path, pages: Mapping[Path, Page]) -> list[str]:
    """Return one line for each address of another site that does not answer."""
    first: dict[str, Path] = {}
    for file, page in pages.items():
        for link in page.links:
            if urlsplit(link).scheme in ("http", "https"):
                first.setdefault(urldefrag(link).url, file)
    silent = []
    for address, file in sorted(first.items()):
        why = _why_not(address)
        if why:
            silent.append(f"{file.relative_to(root.resolve())}: {address}: {why}")
    return silent


def _why_not(address: str) -> str:
    asked = urllib.request.Request(address, headers={"User-Agent": "link check of a manual"})
    try:
        with urllib.request.urlopen(asked, timeout=20):
            return ""
    except urllib.error.HTTPError as error:
        return "" if error.code in _SHUT else f"answers {error.code}"
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", error))


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    built = pages_of(folder)
    found = broken_links(folder, built)
    if "--outside" in sys.argv[2:]:
        found += unanswered(folder, built)
    print("\n".join(found) or "all links lead somewhere")
    sys.exit(bool(found))
