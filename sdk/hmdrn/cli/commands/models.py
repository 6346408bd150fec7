"""`hmdrn models`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from hmdrn.cli.options import PATH, json_option, option
from hmdrn.cli.output import print_facts, print_json
from hmdrn.model_list import ModelAccuracy, ModelInfo, list_models


@click.command("models")
@click.argument("paths", metavar="[PATH]...", nargs=-1)
@option(
    "--profile",
    "profiles",
    multiple=True,
    type=PATH,
    metavar="FILE",
    help="JSON of hmdrn profile BUNDLE --json, to show the time on this device; repeatable.",
)
@json_option
def command(paths: tuple[str, ...], profiles: tuple[Path, ...], as_json: bool) -> None:
    """List models with size, work, accuracy, training data and license.

    PATHs are bundles or checkpoints. Without any, lists the model in the package and, in a checkout, the
    checkpoints in weights/, which hmdrn-export turns into bundles.

    Example: hmdrn models
    """
    models = list_models(paths, profiles)
    if as_json:
        print_json("models", {"models": [{**asdict(m), "path": str(m.path)} for m in models]})
        return
    for model in models:
        print_facts(f"{model.name} ({model.path})", _list_facts(model))


def _list_facts(model: ModelInfo) -> list[tuple[str, str]]:
    work = "-" if model.multiply_adds is None else f"{model.multiply_adds / 1e6:.0f} million per photo"
    time = "-" if model.milliseconds is None else f"{model.milliseconds:.2f} ms"
    return [
        ("kind", model.kind),
        ("network", f"{model.backbone}, {model.head} head, {model.side or '-'} px"),
        ("size", f"{model.bytes / 1e6:.1f} MB"),
        *([("graphs", ", ".join(model.variants))] if model.variants else []),
        ("multiply-adds", work),
        ("time on this device", time),
        *((name, figures) for name, figures in _group_accuracy(model.accuracy).items()),
        ("trained on", model.training_data),
        ("license", model.license),
    ]


def _group_accuracy(accuracy: Sequence[ModelAccuracy]) -> dict[str, str]:
    """Return one line for each data set."""
    lines: dict[str, list[str]] = {}
    for entry in accuracy:
        interval = "" if entry.ci95 is None else f" ± {entry.ci95:.1f}"
        figure = f"{entry.way}-way {entry.shot}-shot {entry.accuracy:.1f}{interval} %"
        lines.setdefault(entry.data, []).append(figure)
    return {f"accuracy, {data}": ", ".join(figures) for data, figures in lines.items()}
