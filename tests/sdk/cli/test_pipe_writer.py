"""Lines for a pipe, written by several threads."""

from __future__ import annotations

import io
import os
import sys
import threading
import time

from hmdrn.cli.pipe_writer import PipeWriter


def test_lines_of_two_threads_do_not_mix_also_if_the_reader_is_slow(monkeypatch):
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream, os.fdopen(reading, "rb", buffering=0) as reader:
        monkeypatch.setattr(sys, "stdout", stream)
        write = PipeWriter("stdout", lambda: False)

        def repeat(letter):
            for _ in range(10):
                write(20_000 * letter)

        threads = [threading.Thread(target=repeat, args=(letter,)) for letter in "ab"]
        for thread in threads:
            thread.start()
        data = io.BytesIO()
        while data.tell() < 20 * 20_001:
            data.write(reader.read(3000))
            time.sleep(0.001)
        for thread in threads:
            thread.join()
    lines = data.getvalue().decode().splitlines()
    assert sorted(lines) == 10 * [20_000 * "a"] + 10 * [20_000 * "b"]
