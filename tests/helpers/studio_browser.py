"""The studio served to a real browser."""

from __future__ import annotations

import shutil
from contextlib import contextmanager

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
OPTIONS = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]


@contextmanager
def served(session, access=None, view=None):
    """The address of a studio that is up."""
    from hmdrn.studio.access import Access
    from hmdrn.studio.server import create_app, run_in_thread

    with run_in_thread(create_app(session, access or Access(), view)) as address:
        yield address
