"""Keeping the messages of HyperSpy and RosettaSciIO off the terminal."""

from __future__ import annotations

import contextlib
import importlib
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[list[str]]:
    """Collect the messages of HyperSpy and RosettaSciIO instead of printing them.

    Yields
    ------
    list of str
        Filled while the block runs.
    """
    complaints: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            complaints.append(record.getMessage())

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # These set up their loggers when they are imported, so that comes first.
        importlib.import_module("rsciio")
        importlib.import_module("hyperspy.api")

        ear = Ear(level=logging.WARNING)
        loggers = [logging.getLogger(name) for name in ("hyperspy", "rsciio", "exspy")]
        before = [(logger.handlers[:], logger.propagate) for logger in loggers]
        for logger in loggers:
            logger.handlers[:], logger.propagate = [ear], False
        try:
            yield complaints
        finally:
            for logger, (handlers, propagate) in zip(loggers, before, strict=True):
                logger.handlers[:], logger.propagate = handlers, propagate
