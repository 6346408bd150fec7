"""The studio served to a real browser."""

from __future__ import annotations

import shutil
import socket
import threading
from contextlib import contextmanager

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
OPTIONS = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]


@contextmanager
def served(session, access=None, view=None):
    """The address of a studio that is up."""
    from hmdrn.studio.access import Access
    from hmdrn.studio.server import create_app, make_server

    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    server = make_server(create_app(session, access or Access(), view), "127.0.0.1", port)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)
