"""The models at hand: facts, speed on this device, and switching to another one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from starlette.responses import Response
from starlette.routing import Route

from hmdrn.loading import load
from hmdrn.model_list import ModelInfo, list_models
from hmdrn.studio.html import Html, element
from hmdrn.studio.jobs import JobProgress
from hmdrn.studio.layout import button, form, hidden, render_page, table
from hmdrn.studio.requests import Notices, Sent, answer, change
from hmdrn.studio.session import StudioSession
from hmdrn.studio.switching import CARRY, EMPTY, KEEP, SwitchPlan, find_models, plan_switch, switch_model
from hmdrn_runtime.bundle.bundle import open_bundle
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.profiling.inputs import enroll_drawn, make_camera_frame
from hmdrn_runtime.profiling.stages import measure_stages
from hmdrn_runtime.profiling.timing import TimingPlan

e = element
PAGE = "/models"
_SWITCH = "/models/switch"
_PLAN = TimingPlan(1.0, 20, 0.2, 10.0)
_SPECIES = 4


def list_routes(session: StudioSession, notices: Notices) -> list[Route]:
    """Return the addresses of the page."""
    page = ModelsPage(session, notices)
    return [
        Route(PAGE, answer(page.show), methods=["GET"]),
        Route(_SWITCH, answer(page.show_switch), methods=["GET"]),
        Route(_SWITCH, change(page.switch, PAGE, notices), methods=["POST"]),
        Route("/models/measure", change(page.measure, PAGE, notices), methods=["POST"]),
    ]


def hash_path(path: Path) -> str:
    """Return the text that stands for a bundle in addresses: no request names a path."""
    return hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]


class ModelsPage:
    """The page and its changes."""

    def __init__(self, session: StudioSession, notices: Notices) -> None:
        self._session, self._notices = session, notices
        self._milliseconds: dict[Path, float] = {}

    def show(self, sent: Sent) -> Response:
        """Show all models."""
        session = self._session
        models, problems = find_models(session)
        known = {model.path.resolve() for model in models}
        checkpoints = [model for model in list_models() if model.path.resolve() not in known]
        recognizer = session.recognizer
        state = f"in use, by {recognizer.backend.name}, {recognizer.bundle.variant}"
        hint = "To have others here, put their folders (NAME.hmdrn) beside the gallery, and load this page."
        return render_page(
            session,
            PAGE,
            "Models",
            e("p", e("a", "Self-test of this device", href="/selftest", class_="button")),
            *(
                self._render(model, state)
                if model.path.resolve() == recognizer.bundle.path.resolve()
                else self._render(model, "at hand", self._render_switch)
                for model in models
            ),
            *(self._render(model, "checkpoint") for model in checkpoints),
            e("ul", *(e("li", line) for line in problems), class_="warnings") if problems else None,
            e("p", hint),
            notice=self._notices.find(sent),
        )

    def show_switch(self, sent: Sent) -> Response:
        """Show what becomes of the gallery with another model, and ask."""
        model = self._find(sent.query.get("model", ""))
        plan = plan_switch(self._session, open_bundle(model.path))
        return render_page(
            self._session,
            PAGE,
            f"Use {model.name}?",
            e("p", e("a", "All models", href=PAGE)),
            e("section", *_render_plan(self._session, model, plan)),
        )

    def switch(self, sent: Sent) -> Response:
        """Switch to another model as a job."""
        model, way = self._find(sent.text("model")), sent.text("way")
        session = self._session
        session.jobs.start(
            f"Switching to {model.name}",
            PAGE,
            lambda progress: switch_model(session, model.path, way, progress),
        )
        return self._notices.redirect(PAGE)

    def measure(self, sent: Sent) -> Response:
        """Measure a model's speed as a job."""
        model = self._find(sent.text("model"))

        def work(progress: JobProgress) -> str:
            progress("opening the model", 0, 0)
            recognizer = load(model.path, threads=self._session.threads)
            progress("enrolling drawn specimens", 0, 0)
            enroll_drawn(recognizer, _SPECIES)
            progress("measuring", 0, 0)
            stages = measure_stages(recognizer, make_camera_frame(), _PLAN, after=progress.check)
            milliseconds = stages.total.p50
            self._milliseconds[model.path.resolve()] = milliseconds
            return f"{milliseconds:.1f} ms from a camera's frame to its name, the median"

        self._session.jobs.start(f"Speed of {model.name}", PAGE, work)
        return self._notices.redirect(PAGE)

    def _find(self, key: str) -> ModelInfo:
        models, _ = find_models(self._session)
        for model in models:
            if hash_path(model.path) == key:
                return model
        raise HmdrnError("this model is not at hand any more: choose another one")

    def _render(
        self, model: ModelInfo, state: str, render_more: Callable[[ModelInfo], Html] | None = None
    ) -> Html:
        facts: dict[str, str | Html] = {
            "Network": f"{model.backbone}, {model.head} head" + (f", {model.side} px" if model.side else ""),
            "Size": f"{model.bytes / 1e6:.1f} MB",
            "Trained on": model.training_data,
            "License": model.license,
        }
        if model.multiply_adds is not None:
            facts["Work for a photo"] = f"{model.multiply_adds / 1e6:.0f} million multiply-adds"
        if model.kind == "bundle":
            facts["Speed here"] = self._render_speed(model)
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
        unusable = e("p", "Devices open bundles: hmdrn-export makes one of it.")
        return e(
            "section",
            e("h2", f"{model.name}: {state}"),
            e("table", e("tbody", *rows), class_="facts"),
            e("details", e("summary", f"Accuracy of {model.name}"), tasks) if accuracy else None,
            unusable if model.kind != "bundle" else None,
            None if render_more is None else render_more(model),
        )

    def _render_speed(self, model: ModelInfo) -> Html:
        value = self._milliseconds.get(model.path.resolve(), model.milliseconds)
        text = "not measured yet" if value is None else f"{value:.1f} ms from a camera's frame to its name"
        again = "Measure" if value is None else "Measure again"
        return form(
            "/models/measure",
            hidden("model", hash_path(model.path)),
            e("span", text, " "),
            button(again, f"{again} the speed of {model.name}"),
        )

    def _render_switch(self, model: ModelInfo) -> Html:
        key = hash_path(model.path)
        return e("a", f"Use {model.name}...", href=f"{_SWITCH}?model={key}", class_="button")


def _render_plan(session: StudioSession, model: ModelInfo, plan: SwitchPlan) -> list[Html | None]:
    key = hidden("model", hash_path(model.path))
    if plan.fits:
        same = e("p", "It is of the same network: the gallery fits it as it is, and nothing is lost.")
        return [same, form(_SWITCH, key, button(f"Use {model.name}"))]
    now = session.gallery_path.name
    lines: list[Html | None] = [
        e("p", f"Galleries belong to their network. {now} stays as it is, for the present model."),
    ]
    ways: list[Html | None] = []
    if plan.photos:
        what = f"Enroll {_count(plan.photos, 'kept picture')} of {plan.species} species anew"
        where = f"replace the {plan.existing} species of {plan.path.name}" if plan.existing else "keep them"
        text = f"{what}, and {where}" + ("" if plan.existing else f" in {plan.path.name}")
        ways.append(_render_way(CARRY, text, checked=not plan.existing))
        if plan.left_out:
            lost = ", ".join(plan.lost_species[:8])
            gone = f" Nothing is left of {lost}." if lost else ""
            text = f"{_count(plan.left_out, 'photo')} without a kept picture cannot be carried over.{gone}"
            lines.append(e("p", text, class_="warning"))
        lines.append(e("p", _describe_rate(plan)))
    elif len(session.gallery):
        text = "No photo of this gallery has a kept picture: none can be carried over."
        lines.append(e("p", text, class_="warning"))
    if plan.existing is not None:
        text = f"Go on with the {plan.existing} species that {plan.path.name} has already"
        ways.append(_render_way(KEEP, text, checked=True))
    else:
        ways.append(_render_way(EMPTY, "Begin with an empty gallery", checked=not plan.photos))
    lines.append(e("p", "The changes made so far cannot be undone with the other model."))
    choice = e("fieldset", e("legend", "The gallery"), *ways)
    return [*lines, form(_SWITCH, key, choice, button(f"Use {model.name}"))]


def _render_way(way: str, text: str, checked: bool) -> Html:
    field = e("input", type="radio", name="way", value=way, required=True, checked=checked)
    return e("label", field, f" {text}", class_="check")


def _describe_rate(plan: SwitchPlan) -> str:
    if plan.rate is None:
        return "Numbers such as evidence and expected accuracy are computed anew."
    if not plan.knows_strangers:
        return "No false-accept rate can be set with it: every photo gets the name of a species."
    return f"The false-accept rate of {100 * plan.rate:g} % is set anew, for the other model."


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"
