"""`hmdrn inspect`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from hmdrn.cli.options import json_option, print_facts, print_json, print_table
from hmdrn.cli.threshold_summary import rate_text
from hmdrn.loading import bundle_path
from hmdrn_runtime.bundle.bundle import Bundle, open_bundle
from hmdrn_runtime.bundle.manifest import Network, Tensor
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.gallery.file import load_gallery
from hmdrn_runtime.gallery.gallery import Gallery
from hmdrn_runtime.io.files import user_path
from hmdrn_runtime.open_set.threshold import rate_of


@click.command("inspect")
@click.argument("thing", metavar="BUNDLE|GALLERY")
@click.option(
    "--photos", is_flag=True, help="Show the digests of a gallery's photos too, as forgetting one needs."
)
@json_option
def command(thing: str, photos: bool, as_json: bool) -> None:
    """Show what is in a bundle or a gallery, after checking that it is whole.

    Example: hmdrn inspect default
    """
    path = user_path(thing, HmdrnError)
    if path.is_file():
        _show_gallery(path, load_gallery(path), photos, as_json)
        return
    folder = bundle_path(thing)
    if not folder.exists():
        raise HmdrnError(f"no bundle or gallery at {path}: check the path")
    _show_bundle(open_bundle(folder), as_json)


def _show_bundle(bundle: Bundle, as_json: bool) -> None:
    manifest = bundle.manifest
    if as_json:
        print_json("inspect.bundle", {"bundle": str(bundle.path), **asdict(manifest)})
        return
    sizes = {name: (bundle.path / name).stat().st_size for name in manifest.files}
    metrics = manifest.model.get("metrics") or {}
    print_facts(
        str(bundle.path),
        [
            ("model", manifest.name),
            *_network_facts(manifest.network),
            ("input", f"RGB uint8, {manifest.input.size} px, preprocessing {manifest.input.preprocessing!r}"),
            ("licence", str(manifest.model.get("licence"))),
            ("trained on", str(manifest.model.get("training_data"))),
            ("meant for", str(manifest.model.get("intended_use"))),
            *((name, _shown(name, value)) for name, value in metrics.items()),
            ("size", f"{sum(sizes.values()) / 1e6:.2f} MB in {len(sizes)} files, digests checked"),
        ],
    )
    rows = [
        [f"{variant}/{name}", graph.precision, str(graph.opset), _ports(graph.inputs), _ports(graph.outputs)]
        for variant, graphs in manifest.variants.items()
        for name, graph in graphs.items()
    ]
    print_table("graphs", ["graph", "precision", "opset", "inputs", "outputs"], rows)
    for variant, report in manifest.verification.items():
        print_facts(
            f"verification of {variant}, when it was exported",
            [
                (name.replace("_", " "), _shown(name, value))
                for name, value in report.items()
                if name != "tolerances"
            ],
        )


_PERCENT = ("accuracy", "agreement")
_SHARES = ("differing",)


def _shown(name: str, value: object) -> str:
    """A figure for people: accuracies and shares in percent, errors and residuals to two digits."""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    if value is None:
        return "-"
    if not isinstance(value, float):
        return str(value)
    if name.endswith(_SHARES):
        return f"{100 * value:.2f} %"
    return f"{value:.2f} %" if name.endswith(_PERCENT) else f"{value:.1e}"


def _show_gallery(path: Path, gallery: Gallery, photos: bool, as_json: bool) -> None:
    far = rate_of(gallery.calibration)
    if as_json:
        species = [{"label": s.label, "photos": sorted(s.photos)} for s in gallery.species.values()]
        values = {"gallery": str(path), "generation": gallery.generation, "network": asdict(gallery.network)}
        print_json("inspect.gallery", {**values, "species": species, "far": far})
        return
    print_facts(
        str(path),
        [
            *_network_facts(gallery.network),
            ("generation", str(gallery.generation)),
            ("known and unknown", rate_text(far)),
            ("size", f"{path.stat().st_size / 1e6:.2f} MB, digest checked"),
        ],
    )
    rows = [[s.label, str(s.shots)] for s in gallery.species.values()]
    columns = ["species", "photos"]
    if photos:
        columns.append("digests")
        for row, s in zip(rows, gallery.species.values(), strict=True):
            row.append(" ".join(digest[:8] for digest in sorted(s.photos)))
    print_table(f"{len(gallery)} species", columns, rows)


def _network_facts(network: Network) -> list[tuple[str, str]]:
    levels = ", ".join(f"{v.name} {v.tokens} x {v.channels}" for v in network.levels)
    return [
        ("network", f"{network.backbone}, {network.head} head, levels (tokens x channels): {levels}"),
        ("fingerprint", network.fingerprint),
        ("kept of a photo", network.statistics.replace("_", " and ")),
    ]


def _ports(tensors: tuple[Tensor, ...]) -> str:
    return "\n".join(f"{t.name} {t.dtype} ({', '.join(map(str, t.shape))})" for t in tensors)
