"""Any error as one plain sentence for the page."""

from __future__ import annotations

from siftem.errors import Cancelled, SiftemError


def error_sentence(error: BaseException) -> str:
    """Return what the page says of an error.

    Parameters
    ----------
    error : BaseException
        The message of a `SiftemError` is made for the reader. Anything else is a fault of
        siftem, and is told as one.

    Returns
    -------
    str
        One line.
    """
    if isinstance(error, Cancelled):
        return "Cancelled; what was done before stays."
    if isinstance(error, SiftemError):
        text = " ".join(str(error).split())
        return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
    if isinstance(error, MemoryError):
        return "Out of memory: crop the map or its energy range."
    text = " ".join(str(error).split())
    about = f": {text}" if text else ""
    return f"Unexpected {type(error).__name__}{about} (please report this)."
