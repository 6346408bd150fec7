"""A camera on the network: serves photos as a stream of JPEGs over HTTP, each for a while, for ever.

python mjpeg_server.py PORT PHOTO...
"""

from __future__ import annotations

import itertools
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

RATE = 25
EACH = 25
"""Frames that a photo is shown for."""


class Handler(BaseHTTPRequestHandler):
    photos: tuple[bytes, ...] = ()

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        try:
            for number in itertools.count():
                photo = self.photos[number // EACH % len(self.photos)]
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(photo)}\r\n\r\n"
                self.wfile.write(head.encode() + photo + b"\r\n")
                time.sleep(1 / RATE)
        except OSError:
            return  # whoever watched has left

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


if __name__ == "__main__":
    Handler.photos = tuple(Path(name).read_bytes() for name in sys.argv[2:])
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
