"""The model in use, and the models at hand."""

from __future__ import annotations

from starlette.responses import Response
from starlette.routing import Route

from hmdrn.model_list import ModelInfo, list_models
from hmdrn.studio.html import Html, element
from hmdrn.studio.layout import render_page, table
from hmdrn.studio.requests import Sent, answer
from hmdrn.studio.session import StudioSession

e = element
_PAGE = "/models"


def list_routes(session: StudioSession) -> list[Route]:
    """Return the addresses of the page."""

    def show(sent: Sent) -> Response:
        bundle = session.recognizer.bundle
        others = [model for model in list_models() if model.path.resolve() != bundle.path.resolve()]
        (current,) = list_models([bundle.path])
        text = (
            "Galleries belong to their model. Start the studio with another bundle to use it; "
            "hmdrn gallery reenroll carries a gallery with thumbnails there."
        )
        return render_page(
            session,
            _PAGE,
            "Models",
            _render(current, f"in use, by {session.recognizer.backend.name}, {bundle.variant}"),
            *(_render(model, model.kind) for model in others),
            e("p", text),
        )

    return [Route(_PAGE, answer(show))]


def _render(model: ModelInfo, state: str) -> Html:
    work = "-" if model.multiply_adds is None else f"{model.multiply_adds / 1e6:.0f} million multiply-adds"
    facts = {
        "Network": f"{model.backbone}, {model.head} head, {model.side or '-'} px",
        "Size": f"{model.bytes / 1e6:.1f} MB",
        "Work for a photo": work,
        "Trained on": model.training_data,
        "License": model.license,
    }
    rows = [e("tr", e("th", name, scope="row"), e("td", value)) for name, value in facts.items()]
    accuracy = [
        e(
            "tr",
            e("th", entry.data, scope="row"),
            e("td", f"{entry.way}-way {entry.shot}-shot"),
            e("td", f"{entry.accuracy:.1f} %" + ("" if entry.ci95 is None else f" ± {entry.ci95:.1f}")),
        )
        for entry in model.accuracy
    ]
    tasks = table(f"Accuracy of {model.name}", ("Data", "Task", "Accuracy"), accuracy)
    return e(
        "section",
        e("h2", f"{model.name}: {state}"),
        e("table", e("tbody", *rows)),
        e("details", e("summary", "Accuracy"), tasks) if accuracy else None,
    )
