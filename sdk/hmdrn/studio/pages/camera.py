"""The camera of a visitor's browser: its frames are named, and those that teach most can be enrolled."""

from __future__ import annotations

from dataclasses import asdict

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hmdrn.studio.boxes import box_fields, parse_box
from hmdrn.studio.browser_camera import BrowserCameras
from hmdrn.studio.html import Html, element
from hmdrn.studio.layout import button, form, percent, species_field
from hmdrn.studio.live_status import describe_subject
from hmdrn.studio.pages.enroll_job import run_enrollment
from hmdrn.studio.requests import Notices, Sent, change
from hmdrn.studio.session import StudioSession
from hmdrn.studio.uploads import prepare_upload
from hmdrn_runtime.classification.prediction import Prediction
from hmdrn_runtime.errors import HmdrnError

e = element
_PAGE = "/classify"


def list_routes(session: StudioSession, notices: Notices) -> list[Route]:
    """Return the addresses that the camera's frames go to."""
    cameras = BrowserCameras(session)

    def name_frame(sent: Sent) -> Response:
        if not sent.uploads:
            return JSONResponse({"error": "no frame"}, 422)
        sides = sent.text("region")
        try:
            region = parse_box(sides.split(",")) if sides else None
            camera = cameras.find(sent.text("camera"))
            result = camera.name(sent.uploads[0].stream.read(), region, sent.text("detector"))
        except HmdrnError as error:
            return JSONResponse({"error": str(error)}, 422)
        sightings = [] if result is None else result.sightings
        subjects = [describe_subject(sighting) for sighting in sightings]
        answer = "; ".join(f"{s.name}, known" if s.known else s.name for s in subjects) or "nothing there"
        if not len(session.gallery):
            answer = "No species is enrolled yet."
        placed = [{**asdict(s), "box": one.box} for s, one in zip(subjects, sightings, strict=True)]
        return JSONResponse({"answer": answer, "subjects": placed, "message": camera.message})

    def enroll(sent: Sent) -> Response:
        preprocessing = session.recognizer.preprocessing
        frames = [
            prepare_upload(upload.stream.read(), f"frame {number}", preprocessing)
            for number, upload in enumerate(sent.uploads, 1)
        ]
        if not frames:
            raise HmdrnError("no frame: start the camera, and show it the species for some seconds")
        label = sent.text("label")
        return run_enrollment(
            session, notices, lambda progress: session.enroll_frames(label, frames, progress), "frames"
        )

    return [
        Route("/classify/frame", change(name_frame, _PAGE, notices), methods=["POST"]),
        Route("/classify/frames", change(enroll, _PAGE, notices), methods=["POST"]),
    ]


def render_camera() -> Html:
    """Return the part of a page that shows the camera's picture with its name, and enrolls its frames."""
    enrolling = form(
        "/classify/frames",
        species_field("What it shows is"),
        button("Enroll the last seconds"),
        class_="row",
        id="camera-enroll",
        hidden=True,
    )
    return e(
        "section",
        e("h2", "This browser's camera"),
        e(
            "p",
            "Its pictures go to the device that serves this page, and are not kept unless you enroll them.",
        ),
        e(
            "p",
            e("button", "Start the camera", type="button", id="camera-start"),
            e("button", "Pause", type="button", id="camera-pause", hidden=True),
        ),
        e("p", "", id="camera-answer", role="status"),
        e("p", "", id="camera-evidence"),
        e("p", "", id="camera-figures"),
        e(
            "div",
            e("video", id="camera", class_="picture", autoplay=True, muted=True, playsinline=True),
            class_="pick",
            id="camera-area",
            hidden=True,
        ),
        _render_view(),
        enrolling,
        e("script", src="/static/camera.js", defer=True),
    )


def _render_view() -> Html:
    """Return the fields for the region and the detector, which the script reads."""
    motion = e("input", type="checkbox", id="camera-motion")
    return e(
        "details",
        e("summary", "Region and subjects"),
        e("p", "Drag over the picture to watch a part of it alone, or give its edges in pixels."),
        box_fields(None),
        e("button", "Watch the whole picture", type="button", id="camera-whole"),
        e(
            "label",
            motion,
            " Find the subjects by motion, before a camera that does not move",
            class_="check",
        ),
        id="camera-view",
        hidden=True,
    )


def describe_prediction(prediction: Prediction) -> str:
    """Return a prediction in one line."""
    probability = percent(prediction.probability)
    if prediction.known is False:
        return f"Unknown: none of the enrolled species. Nearest: {prediction.label}"
    known = ", known" if prediction.known else ""
    return f"{prediction.label}, {probability}{known}"
