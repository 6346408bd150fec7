"""Viewers of a live picture, and the summary of what they cost."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from http.server import ThreadingHTTPServer

import numpy as np
import pytest
from mjpeg_server import Handler

from benchmarks.studio.__main__ import summarize
from benchmarks.studio.process import Window
from benchmarks.studio.replay import ReplayCapture, open_replay
from benchmarks.studio.viewers import Crowd, open_page
from hmdrn.watching.sources import Source


class Camera(Handler):
    photos = (b"picture",)


class BusyStudio(Handler):
    def do_GET(self) -> None:
        self.wfile.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")


@contextmanager
def served(handler):
    """The port of a server."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server.server_port
        server.shutdown()


def wait_for(condition) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def test_a_page_receives_pictures():
    with served(Camera) as port, open_page(port) as viewer:
        wait_for(lambda: viewer.pictures > 2)
    assert viewer.refused == 0


def test_each_of_a_crowd_receives_pictures():
    with served(Camera) as port, Crowd(port, 8) as crowd:
        wait_for(lambda: crowd.pictures >= 16)
    assert crowd.refused == 0


def test_a_crowd_that_is_refused_is_counted():
    with served(BusyStudio) as port, Crowd(port, 3) as crowd:
        wait_for(lambda: crowd.refused == 3)
    assert crowd.pictures == 0


def test_losses_are_medians_over_the_rounds():
    quiet = [Window(10.0, 500, 10.0), Window(10.0, 400, 8.0), Window(10.0, 100, 2.0)]
    live = [Window(10.0, 450, 9.9, 150), Window(10.0, 392, 8.0, 140), Window(10.0, 50, 1.1, 20)]
    values = summarize(quiet, live, quiet)
    assert values["quiet_frames_a_second"] == 40.0
    assert values["quiet_cpu_ms_a_frame"] == pytest.approx(20.0)
    assert values["live_cpu_ms_a_picture"] == pytest.approx(5.0)  # 6, 1.1 and 5
    assert values["live_loss_percent"] == pytest.approx(10.0)
    assert (values["live_loss_least"], values["live_loss_most"]) == pytest.approx((2.0, 50.0))
    assert values["live_more_processor_time_a_frame_percent"] == pytest.approx(10.0)
    assert values["live_pictures_a_second"] == 14.0
    assert values["crowd_loss_percent"] == 0.0


def test_frames_are_replayed_for_ever(tmp_path):
    path = tmp_path / "frames.npy"
    np.save(path, np.arange(2 * 12, dtype=np.uint8).reshape(2, 2, 2, 3))
    capture = open_replay(Source("video", str(path), "frames"), 5.0, lambda: False)
    assert isinstance(capture, ReplayCapture)
    assert [int(capture.read()[0, 0, 0]) for _ in range(5)] == [0, 12, 0, 12, 0]
