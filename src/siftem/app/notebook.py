"""What a page in a notebook needs: callbacks in the kernel's own loop, and changes that are sent.

On a server Bokeh does both. In a notebook, changes of figures wait until Panel sends something
else; they are sent here as they come.
"""

from __future__ import annotations

import asyncio
from typing import Any

from panel.io.notebook import push
from panel.io.state import state
from tornado.ioloop import IOLoop, PeriodicCallback

#: Milliseconds after which what has changed is sent.
_SENT_WITHIN = 40


def kernel_loop() -> IOLoop | None:
    """Return the loop of the notebook's kernel; None in a plain interpreter."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return None
    return IOLoop.current()


def send_changes(panel: Any) -> PeriodicCallback:
    """Send the changes of a page to all places of a notebook where it is shown, from now on.

    Parameters
    ----------
    panel : panel.viewable.Viewable
        The page.

    Returns
    -------
    PeriodicCallback
        To be stopped with the page.
    """

    def send() -> None:
        for ref in list(panel._models):
            _view, root, document, comm = state._views.get(ref, (None, None, None, None))
            if root is not None and comm is not None and comm._comm:
                push(document, comm)

    sending = PeriodicCallback(send, _SENT_WITHIN)
    sending.start()
    return sending
