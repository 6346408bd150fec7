"""A recognition service over HTTP: enroll, classify, forget; the gallery is a file that outlives it.

Needs: `pip install '.[examples]'` in a checkout (FastAPI, uvicorn). Run:

    python examples/service.py --gallery site7.gallery
    curl -F photos=@a.jpg -F photos=@b.jpg http://127.0.0.1:8000/species/Sooty%20Albatross
    curl -F photo=@c.jpg http://127.0.0.1:8000/classify
    curl -X DELETE http://127.0.0.1:8000/species/Sooty%20Albatross
    curl http://127.0.0.1:8000/species

http://127.0.0.1:8000/docs has them all to try out. It knows no users and no encryption: it listens on this
machine alone, and belongs behind a proxy that has them if others are to reach it.
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

MOST_BYTES = 32 * 2**20
"""Of one request, its photos together."""
MOST_PHOTOS = 20
"""Of one enrollment."""
WORKERS = 4
"""Requests worked on at once, each in a thread; a decoded photo may take 200 MB."""

# What the caller can mend is 4xx. Other errors are this device's: 500.
STATUS = {hmdrn.ImageError: 422, hmdrn.EnrollmentError: 422, hmdrn.GalleryError: 409}


class LimitBody:
    """Refuses a request with 413 as soon as more than so many bytes have come, whatever it announced."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self.app, self.most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, counting."""
        came = 0

        async def counted() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > self.most:
                raise HTTPException(413, f"more than {self.most} bytes: send fewer or smaller photos")
            return message

        await self.app(scope, counted, send)


def create_app(recognizer: hmdrn.Recognizer, gallery: Path, most_bytes: int = MOST_BYTES) -> FastAPI:
    """The service.

    Args:
        recognizer: Shared by all requests: some may classify while another enrolls.
        gallery: File that the gallery is saved to after every change. What other processes, such as `hmdrn
            gallery`, have changed there is taken in then.
        most_bytes: Of one request.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = WORKERS
        yield

    app = FastAPI(title="hmdrn", version=hmdrn.__version__, lifespan=lifespan)
    app.add_middleware(LimitBody, most=most_bytes)

    @app.exception_handler(hmdrn.HmdrnError)
    def explain(_: Request, error: hmdrn.HmdrnError) -> JSONResponse:
        status = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)
        return JSONResponse({"detail": str(error)}, status)

    def save() -> None:
        try:
            recognizer.save_gallery(gallery)
        except hmdrn.GalleryError as error:
            # The change holds in memory, and the next save brings it to the file.
            raise HTTPException(500, f"not saved: {error}") from error

    # Not `async`: FastAPI runs these in threads, where reading photos and naming them hold up nobody.
    # `:path`, since a label may have a slash in it.

    @app.get("/health")
    def health() -> dict[str, Any]:
        """Whether the service works, and with what."""
        return {
            "status": "ok",
            "bundle": recognizer.bundle.path.name,
            "backend": str(recognizer.backend_report),
            "species": len(recognizer.gallery),
            "generation": recognizer.gallery.generation,
        }

    @app.get("/species")
    def species() -> list[dict[str, Any]]:
        """The enrolled species and the number of their photos."""
        return [{"label": one.label, "shots": one.shots} for one in recognizer.gallery.species.values()]

    @app.post("/species/{label:path}")
    def enroll(
        label: str, photos: Annotated[list[UploadFile], File(max_length=MOST_PHOTOS)]
    ) -> dict[str, Any]:
        """Add photos to a species, which need not exist yet: all of them, or none."""
        report = recognizer.enroll(label, [photo.file.read() for photo in photos])
        save()
        return {
            "label": report.label,
            "added": len(report.added),
            "duplicates": len(report.duplicates),
            "shots": report.shots,
            "photos": [
                {**one.to_dict(), "name": photo.filename}
                for photo, one in zip(photos, report.photos, strict=True)
            ],
            "nearest": report.nearest and report.nearest.to_dict(),
            "doubt": report.doubt,
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
        """Name the species on a photo."""
        return recognizer.classify(photo.file.read(), top=top).to_dict()

    return app


def main() -> int:
    """Serve until stopped by Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(description="Recognition over HTTP.")
    parser.add_argument("--gallery", type=Path, required=True, help="file, made if there is none")
    parser.add_argument("--bundle", default="default", help="folder NAME.hmdrn (%(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="0 takes any that is free (%(default)s)")
    arguments = parser.parse_args()
    try:
        known = arguments.gallery if arguments.gallery.exists() else None
        # A request has a thread of its own: one more for each would only make them wait for each other.
        recognizer = hmdrn.load(arguments.bundle, gallery=known, threads=1)
        recognizer.save_gallery(arguments.gallery)  # what cannot be written is better known now
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
