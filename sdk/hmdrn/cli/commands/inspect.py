"""`hmdrn inspect`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from hmdrn.cli.options import json_option, option
from hmdrn.cli.output import print_facts, print_json, print_table
from hmdrn.cli.threshold_summary import describe_rate
from hmdrn.loading import resolve_bundle
from hmdrn_runtime.bundle.bundle import Bundle, open_bundle
from hmdrn_runtime.bundle.manifest import Network, Tensor
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.gallery.file import load_gallery
from hmdrn_runtime.io.files import expand_path
from hmdrn_runtime.open_set.threshold import false_accept_rate


@click.command("inspect")
@click.argument("target", metavar="BUNDLE|GALLERY")
@option("--photos", is_flag=True, help="Show the digests of a gallery's photos too; forgetting one needs it.")
@json_option
def command(target: str, photos: bool, as_json: bool) -> None:
    """Show the contents of a bundle or a gallery, after checking that it is whole.

    Example: hmdrn inspect default
    """
    path = expand_path(target, HmdrnError)
    if path.is_file():
        _show_gallery(path, photos, as_json)
        return
    folder = resolve_bundle(target)
    if not folder.exists():
        raise HmdrnError(f"no bundle or gallery at {path}: check the path")
    _show_bundle(open_bundle(folder), as_json)


def _show_bundle(bundle: Bundle, as_json: bool) -> None:
    manifest = bundle.manifest
    if as_json:
        print_json("inspect.bundle", {"bundle": str(bundle.path), **asdict(manifest)})
        return
    size = sum((bundle.path / name).stat().st_size for name in manifest.files)
    metrics = manifest.model.get("metrics") or {}
    print_facts(
        str(bundle.path),
        [
            ("model", manifest.name),
            *_network_facts(manifest.network),
            ("input", f"RGB uint8, {manifest.input.size} px, preprocessing {manifest.input.preprocessing!r}"),
            ("license", str(manifest.model.get("license"))),
            ("trained on", str(manifest.model.get("training_data"))),
            ("meant for", str(manifest.model.get("intended_use"))),
            *((name, _format_figure(name, value)) for name, value in metrics.items()),
            ("size", f"{size / 1e6:.2f} MB in {len(manifest.files)} files, digests checked"),
        ],
    )
    rows = [
        [f"{variant}/{name}", graph.precision, str(graph.opset), _ports(graph.inputs), _ports(graph.outputs)]
        for variant, graphs in manifest.variants.items()
        for name, graph in graphs.items()
    ]
    print_table("graphs", ["graph", "precision", "opset", "inputs", "outputs"], rows)
    for variant, report in manifest.verification.items():
        figures = {name: value for name, value in report.items() if name != "tolerances"}
        facts = [(name.replace("_", " "), _format_figure(name, value)) for name, value in figures.items()]
        print_facts(f"verification of {variant}, when it was exported", facts)


def _format_figure(name: str, value: object) -> str:
    """Format accuracies and shares in percent, errors and residuals to two digits."""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    if value is None:
        return "-"
    if not isinstance(value, float):
        return str(value)
    if name.endswith("differing"):
        return f"{100 * value:.2f} %"
    if name.endswith("ci95"):
        return f"± {value:.2f} %"
    return f"{value:.2f} %" if name.endswith(("accuracy", "agreement")) else f"{value:.1e}"


def _show_gallery(path: Path, photos: bool, as_json: bool) -> None:
    gallery = load_gallery(path)
    rate = false_accept_rate(gallery.calibration)
    if as_json:
        species = [{"label": s.label, "photos": sorted(s.photos)} for s in gallery.species.values()]
        values = {"gallery": str(path), "generation": gallery.generation, "network": asdict(gallery.network)}
        print_json("inspect.gallery", {**values, "species": species, "far": rate})
        return
    print_facts(
        str(path),
        [
            *_network_facts(gallery.network),
            ("generation", str(gallery.generation)),
            ("known and unknown", describe_rate(rate)),
            ("size", f"{path.stat().st_size / 1e6:.2f} MB, digest checked"),
        ],
    )
    rows = [[s.label, str(s.shots)] for s in gallery.species.values()]
    if photos:
        for row, s in zip(rows, gallery.species.values(), strict=True):
            row.append(" ".join(digest[:8] for digest in sorted(s.photos)))
    print_table(f"{len(gallery)} species", ["species", "photos", *["digests"] * photos], rows)


def _network_facts(network: Network) -> list[tuple[str, str]]:
    levels = ", ".join(f"{v.name} {v.tokens} x {v.channels}" for v in network.levels)
    return [
        ("network", f"{network.backbone}, {network.head} head, levels (tokens x channels): {levels}"),
        ("fingerprint", network.fingerprint),
        ("statistics of a photo", network.statistics.replace("_", " and ")),
    ]


def _ports(tensors: tuple[Tensor, ...]) -> str:
    return "\n".join(f"{t.name} {t.dtype} ({', '.join(map(str, t.shape))})" for t in tensors)
