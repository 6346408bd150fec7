"""A recognition service over HTTP: enroll, classify, forget; the gallery is stored in a file.

Needs: `pip install '.[examples]'` in a checkout (FastAPI, uvicorn). Run:

    python examples/service.py --gallery site7.gallery
    curl -F photos=@a.jpg -F photos=@b.jpg http://127.0.0.1:8000/species/Sooty%20Albatross
    curl -F photo=@c.jpg http://127.0.0.1:8000/classify
    curl -X DELETE http://127.0.0.1:8000/species/Sooty%20Albatross
    curl http://127.0.0.1:8000/species

Try all requests at http://127.0.0.1:8000/docs. The service has neither users nor encryption: it listens on
this machine only. To open it to others, put it behind a proxy that has them.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote

import hmdrn

try:
    import anyio.to_thread
    import python_multipart as python_multipart
    import uvicorn
    from fastapi import FastAPI, File, HTTPException, Query, Request, UploadFile
    from fastapi.responses import JSONResponse
    from starlette.types import ASGIApp, Message, Receive, Scope, Send
except ModuleNotFoundError as missing:
    print(
        f"error: {hmdrn.MissingDependencyError(str(missing.name), 'this service', 'examples')}",
        file=sys.stderr,
    )
    sys.exit(2)

MAX_BYTES = 32 * 2**20
"""Most bytes of one request, all photos together."""
MAX_PHOTOS = 20
"""Most photos of one enrollment."""
WORKERS = 4
"""Requests that run at once, each in a thread; a decoded photo may take 200 MB."""

# Mistakes of the caller are 4xx. Other errors are this device's: 500.
STATUS = {hmdrn.ImageError: 422, hmdrn.EnrollmentError: 422, hmdrn.GalleryError: 409}


class RejectPaths:
    """Rejects a request with 400 if its path is not UTF-8: its label would be stored as question marks."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on if its path can be read."""
        try:
            unquote(scope.get("raw_path") or b"", errors="strict")
        except UnicodeDecodeError:
            detail = "the path is not UTF-8: percent-encode the label's UTF-8 bytes"
            await JSONResponse({"detail": detail}, 400)(scope, receive, send)
            return
        await self.app(scope, receive, send)


class LimitBody:
    """Rejects a request with 413 as soon as it exceeds a number of bytes, whatever its announced length."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app, self.max_bytes = app, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and count its bytes."""
        received = 0

        async def receive_counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.max_bytes:
                raise HTTPException(413, f"more than {self.max_bytes} bytes: send fewer or smaller photos")
            return message

        await self.app(scope, receive_counted, send)


def create_app(recognizer: hmdrn.Recognizer, gallery: Path, max_bytes: int = MAX_BYTES) -> FastAPI:
    """Make the service.

    Args:
        recognizer: Shared by all requests: some may classify while another enrolls.
        gallery: File that the gallery is saved to after every change, merged with the changes of other
            processes, such as `hmdrn gallery`; `main` also follows them.
        max_bytes: Most bytes of one request.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = WORKERS
        yield

    app = FastAPI(title="hmdrn", version=hmdrn.__version__, lifespan=lifespan)
    app.add_middleware(LimitBody, max_bytes=max_bytes)
    app.add_middleware(RejectPaths)

    @app.exception_handler(hmdrn.HmdrnError)
    def explain(_: Request, error: hmdrn.HmdrnError) -> JSONResponse:
        status = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)
        return JSONResponse({"detail": str(error)}, status)

    def save() -> None:
        try:
            recognizer.save_gallery(gallery)
        except hmdrn.GalleryError as error:
            # The change stays in memory, and the next save writes it.
            raise HTTPException(500, f"not saved: {error}") from error

    # Not `async`: FastAPI runs these in threads, where reading and classifying photos block no other request.
    # `:path`, because a label may contain a slash.

    @app.get("/health")
    def health() -> dict[str, Any]:
        """Report the state of the service."""
        return {
            "status": "ok",
            "bundle": recognizer.bundle.path.name,
            "backend": str(recognizer.backend_report),
            "species": len(recognizer.gallery),
            "generation": recognizer.gallery.generation,
        }

    @app.get("/species")
    def species() -> list[dict[str, Any]]:
        """List the enrolled species and the number of their photos."""
        return [{"label": s.label, "shots": s.shots} for s in recognizer.gallery.species.values()]

    @app.post("/species/{label:path}")
    def enroll(
        label: str, photos: Annotated[list[UploadFile], File(max_length=MAX_PHOTOS)]
    ) -> dict[str, Any]:
        """Add photos to a new or existing species: all of them, or none."""
        report = recognizer.enroll(label, [photo.file.read() for photo in photos])
        save()
        return {
            "label": report.label,
            "added": len(report.added),
            "duplicates": len(report.duplicates),
            "shots": report.shots,
            "photos": [
                {**photo_report.to_dict(), "name": photo.filename}
                for photo, photo_report in zip(photos, report.photos, strict=True)
            ],
            "nearest": report.nearest and report.nearest.to_dict(),
            "doubt": report.issue,
        }

    @app.delete("/species/{label:path}", status_code=204)
    def forget(label: str) -> None:
        """Remove a species."""
        try:
            recognizer.forget(label)
        except hmdrn.GalleryError as error:
            raise HTTPException(404, str(error)) from error
        save()

    @app.post("/classify")
    def classify(photo: UploadFile, top: Annotated[int, Query(ge=1, le=100)] = 5) -> dict[str, Any]:
        """Recognize the species on a photo."""
        return recognizer.classify(photo.file.read(), top=top).to_dict()

    return app


def main() -> int:
    """Serve until stopped by Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(description="Recognition over HTTP.")
    parser.add_argument("--gallery", type=Path, required=True, help="file, created if missing")
    parser.add_argument("--bundle", default="default", help="folder NAME.hmdrn (%(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="0 for any free port (%(default)s)")
    arguments = parser.parse_args()
    try:
        gallery = arguments.gallery if arguments.gallery.exists() else None
        # Each request has its own thread: more threads for each would only compete.
        recognizer = hmdrn.load(arguments.bundle, gallery=gallery, threads=1)
        recognizer.save_gallery(arguments.gallery)  # reports now if it cannot be written
        recognizer.follow_gallery(arguments.gallery, lambda message: print(message, file=sys.stderr))
    except hmdrn.HmdrnError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    try:
        family = socket.AF_INET6 if ":" in arguments.host else socket.AF_INET
        listener = socket.create_server((arguments.host, arguments.port), family=family)
    except (OSError, OverflowError) as error:
        where = f"{arguments.host}, port {arguments.port}"
        print(f"error: cannot listen on {where} ({error}): give another --port or --host", file=sys.stderr)
        return 2
    host = f"[{arguments.host}]" if family == socket.AF_INET6 else arguments.host
    print(f"serving on http://{host}:{listener.getsockname()[1]}", file=sys.stderr)
    with listener, contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(uvicorn.Config(create_app(recognizer, arguments.gallery))).run([listener])
    return 0


if __name__ == "__main__":
    sys.exit(main())
