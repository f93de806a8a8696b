"""Names of phases as names of files."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable

#: Bytes of a name; file systems take 255, and endings are added.
_LONGEST = 120


def file_name(name: str) -> str:
    """Turn the name of a phase into a file name: letters, digits, ``-``, ``_`` and ``.``.

    Different phases may get the same one: `file_names` keeps those of a run apart.
    """
    safe = re.sub(r"[^\w.-]+", "_", name).strip("._")
    safe = safe.encode()[:_LONGEST].decode(errors="ignore")
    return safe or "spectrum"


def file_names(names: Iterable[str]) -> dict[str, str]:
    """Give each name a file name of its own, also where capitals don't count.

    Parameters
    ----------
    names : iterable of str
        Of all that lies in one folder.

    Returns
    -------
    dict of str to str
        `file_name` of each; those that would meet get digits of a hash of their name, so
        that they are the same in whatever order the names come.
    """
    every = list(dict.fromkeys(names))
    plain = {name: file_name(name) for name in every}
    often = Counter(safe.casefold() for safe in plain.values())
    out = {}
    for name, safe in plain.items():
        # One whose name needed no change may keep it.
        alike = [n for n in every if plain[n].casefold() == safe.casefold()]
        keeps = [n for n in alike if plain[n] == n]
        if often[safe.casefold()] == 1 or keeps == [name]:
            out[name] = safe
        else:
            out[name] = f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return out
