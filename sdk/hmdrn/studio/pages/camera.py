"""The camera of a visitor's browser: its frames are named, and those that teach most can be enrolled."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hmdrn.studio.html import Html, element
from hmdrn.studio.layout import button, form, percent, species_field
from hmdrn.studio.requests import Notices, Sent, change
from hmdrn.studio.session import StudioSession
from hmdrn.studio.uploads import prepare_upload
from hmdrn_runtime.classification.prediction import Prediction
from hmdrn_runtime.errors import HmdrnError

e = element
_PAGE = "/classify"


def list_routes(session: StudioSession, notices: Notices) -> list[Route]:
    """Return the addresses that the camera's frames go to."""

    def name_frame(sent: Sent) -> Response:
        if not sent.uploads:
            return JSONResponse({"error": "no frame"}, 422)
        if not len(session.gallery):
            return JSONResponse({"answer": "No species is enrolled yet."})
        try:
            prediction = session.recognizer.classify(sent.uploads[0].stream.read())
        except HmdrnError as error:
            return JSONResponse({"error": str(error)}, 422)
        return JSONResponse({"answer": describe_prediction(prediction)})

    def enroll(sent: Sent) -> Response:
        preprocessing = session.recognizer.preprocessing
        frames = [
            prepare_upload(upload.stream.read(), f"frame {number}", preprocessing)
            for number, upload in enumerate(sent.uploads, 1)
        ]
        if not frames:
            raise HmdrnError("no frame: start the camera, and show it the species for some seconds")
        (report,) = session.enroll_frames(sent.text("label"), frames).reports
        return notices.redirect("/enroll", f"{len(report.added)} new frames of {report.label}.")

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
        e("button", "Start the camera", type="button", id="camera-start"),
        e("p", "", id="camera-answer", role="status"),
        e("video", id="camera", class_="picture", autoplay=True, muted=True, playsinline=True, hidden=True),
        enrolling,
    )


def describe_prediction(prediction: Prediction) -> str:
    """Return a prediction in one line."""
    probability = percent(prediction.probability)
    if prediction.known is False:
        return f"Unknown: none of the enrolled species. Nearest: {prediction.label}"
    known = ", known" if prediction.known else ""
    return f"{prediction.label}, {probability}{known}"
