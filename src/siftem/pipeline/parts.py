"""Parts of a run that may fail and leave the rest standing.

This is the one place where faults are caught: what a part needs is given as a function, and what
stands in its place when it fails is given beside it. The reason goes to the warnings of the run,
and so into the report and the summary.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, MutableMapping
from typing import TypeVar

import numpy as np

from siftem.errors import Cancelled, DoubtWarning, RecipeError, SiftemError

Made = TypeVar("Made")
Instead = TypeVar("Instead")

#: What data can do to a part. A recipe that contradicts itself is told before any work; full
#: memory, a full disk and Ctrl-C end the run.
_FAULTS = (SiftemError, np.linalg.LinAlgError, ArithmeticError, LookupError, TypeError, ValueError)


def attempted(
    part: str,
    make: Callable[[], Made],
    instead: Instead,
    *,
    missing: MutableMapping[str, str] | None = None,
) -> Made | Instead:
    """Make a part of a run, or say why it is missing.

    Parameters
    ----------
    part : str
        What it is, such as "the composition of Fp".
    make : callable
        Returns it.
    instead : object
        Returned when ``make`` fails.
    missing : mutable mapping of str to str, optional
        Gets the reason under ``part``.

    Returns
    -------
    object

    Raises
    ------
    Cancelled, RecipeError
        Those are not caught, nor is what follows from an OSError.

    Warns
    -----
    SiftemWarning
        That the part is missing, and why.
    """
    try:
        return make()
    except (Cancelled, RecipeError):
        raise
    except _FAULTS as error:
        if isinstance(error.__cause__ or error.__context__, OSError):
            raise  # the disk is full, or a file is gone: no matter of this part alone
        reason = " ".join(str(error).split()) or type(error).__name__
        if not isinstance(error, SiftemError):
            reason = f"unexpected {type(error).__name__}, please report it: {reason}"
        warnings.warn(f"{part} is missing: {reason}", DoubtWarning, stacklevel=2)
        if missing is not None:
            missing[part] = reason
        return instead
