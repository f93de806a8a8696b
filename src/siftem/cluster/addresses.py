"""Addresses of Dask's schedulers."""

from __future__ import annotations

import re

from siftem.errors import InputError

#: A protocol that Dask knows or none, a host (in brackets where it is a number of IPv6), a port.
_ADDRESS = re.compile(
    r"(?:(?:tcp|tls|ucx|ucxx|ws|wss|inproc)://)?(?:\[[0-9a-fA-F:.]+\]|[^\s:/]+):\d+"
)
_INSIDE = re.compile(r"inproc://\S+")


def checked_address(text: str) -> str:
    """Return the address of a scheduler if it can be one.

    Parameters
    ----------
    text : str
        Such as "tcp://10.0.0.5:8786"; the protocol may be left out.

    Raises
    ------
    InputError
        When it cannot. Dask's client would try for a long time, and complain for longer.
    """
    text = text.strip()
    if not (_ADDRESS.fullmatch(text) or _INSIDE.fullmatch(text)):
        raise InputError(
            f"{text!r} is no address of a Dask scheduler: give the one that it prints when it "
            f"starts, such as tcp://10.0.0.5:8786"
        )
    return text
