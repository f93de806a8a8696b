"""What can go wrong, said in one plain sentence that tells the reader what to do."""

from __future__ import annotations


class SiftemError(Exception):
    """Base of every error that siftem raises on purpose.

    The message is one sentence for the person at the keyboard: what was expected,
    what came, and what to do about it. The command line prints it without a traceback.

    Examples
    --------
    >>> try:
    ...     siftem.load("not_there.bcf")
    ... except siftem.SiftemError as error:
    ...     print(error)
    cannot read not_there.bcf: there is no such file
    """


class InputError(SiftemError, ValueError):
    """A parameter or an array does not fit: wrong shape, range, name or content.

    Examples
    --------
    >>> siftem.Absent("Xx")
    Traceback (most recent call last):
    ...
    siftem.errors.InputError: ...
    """


class ReadError(SiftemError):
    """A file cannot be read, or holds no usable spectrum image."""


class SeveralMapsError(ReadError):
    """A file holds several spectrum images, and none was chosen."""


class RecipeError(InputError):
    """A recipe is incomplete, contradicts itself or has an unknown key."""


class Cancelled(SiftemError):
    """Raised by a progress callback to stop the work; what was finished before stays.

    Examples
    --------
    >>> def impatient(step, fraction):
    ...     raise siftem.Cancelled
    >>> siftem.load("map.hspy", progress=impatient)
    Traceback (most recent call last):
    ...
    siftem.errors.Cancelled: cancelled
    """

    def __init__(self, message: str = "cancelled") -> None:
        super().__init__(message)


class SiftemWarning(UserWarning):
    """Something the user should know; it also goes into the report.

    Examples
    --------
    >>> import warnings
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", siftem.SiftemWarning)  # stop where something is doubtful
    ...     si = siftem.load("map.hspy")
    """


class DoubtWarning(SiftemWarning):
    """A number may be wrong, by more than its error tells: stands on top of the report.

    Examples
    --------
    >>> issubclass(siftem.DoubtWarning, siftem.SiftemWarning)
    True
    """
