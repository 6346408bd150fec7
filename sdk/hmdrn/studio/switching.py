"""Switching the model while the studio runs, and what becomes of the gallery.

A gallery fits one network. With another one the studio works with another file, beside the first: the
enrolled photos are carried there from their thumbnails, and the first file stays as it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from hmdrn.loading import DEFAULT, load, resolve_bundle
from hmdrn.model_list import ModelInfo, list_models
from hmdrn.open_set import calibrate_threshold
from hmdrn.studio.jobs import JobProgress
from hmdrn.studio.session import StudioSession
from hmdrn_runtime.bundle.bundle import Bundle, open_bundle
from hmdrn_runtime.bundle.manifest import Network
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.gallery.file import load_gallery, save_gallery
from hmdrn_runtime.gallery.gallery import Gallery
from hmdrn_runtime.migration import reenroll
from hmdrn_runtime.open_set.background import open_background

CARRY, KEEP, EMPTY = "carry", "keep", "empty"
"""Ways to go on: with the present photos, with the gallery that the model has, with an empty one."""


@dataclass(frozen=True)
class SwitchPlan:
    """What becomes of the gallery when the model is switched.

    Attributes:
        fits: Whether the gallery fits the model as it is.
        path: The gallery's file afterwards.
        species: Number of species that are carried over.
        photos: Number of photos that are, from their thumbnails.
        left_out: Number of photos without a thumbnail.
        lost_species: Species without any thumbnail.
        existing: Number of species of the gallery that the model has already; None if it has none.
        rate: False-accept rate that is set anew; None without a calibration.
        knows_strangers: Whether the model has background species, without which a rate cannot be set.
    """

    fits: bool
    path: Path
    species: int
    photos: int
    left_out: int
    lost_species: tuple[str, ...]
    existing: int | None
    rate: float | None
    knows_strangers: bool


def find_models(session: StudioSession) -> tuple[list[ModelInfo], list[str]]:
    """Find the bundles at hand: the package's, and those beside the gallery or the present one.

    Returns:
        The models, the present one first; and a line for each bundle that cannot be used.
    """
    current = session.recognizer.bundle.path
    folders = dict.fromkeys(path.resolve().parent for path in (session.home, current, session.first_bundle))
    others = [path for folder in folders for path in sorted(folder.glob("*.hmdrn"))]
    models, problems = dict[Path, ModelInfo](), list[str]()
    for path in (current, resolve_bundle(DEFAULT), session.first_bundle, *others):
        resolved = path.resolve()
        if resolved in models:
            continue
        is_default = resolved == resolve_bundle(DEFAULT).resolve()
        try:
            (models[resolved],) = list_models([DEFAULT if is_default else resolved])
        except HmdrnError as error:
            problems.append(str(error).replace(str(resolved), resolved.name))
    return list(models.values()), problems


def plan_switch(session: StudioSession, bundle: Bundle) -> SwitchPlan:
    """Return what becomes of the gallery with another bundle; changes nothing."""
    gallery, network = session.gallery, bundle.manifest.network
    fits = gallery.network.fingerprint == network.fingerprint
    counts = {
        label: sum(photo.thumbnail is not None for photo in species.photos.values())
        for label, species in gallery.species.items()
    }
    photos, shots = sum(counts.values()), sum(species.shots for species in gallery.species.values())
    path = session.gallery_path if fits else _find_path(session, bundle.manifest.name, network)
    existing = None if fits or not path.exists() else len(load_gallery(path))
    return SwitchPlan(
        fits,
        path,
        species=sum(count > 0 for count in counts.values()),
        photos=photos,
        left_out=shots - photos,
        lost_species=tuple(label for label, count in counts.items() if not count),
        existing=existing,
        rate=session.rate,
        knows_strangers=open_background(bundle) is not None,
    )


def switch_model(session: StudioSession, path: Path, way: str, progress: JobProgress) -> str:
    """Switch to another bundle, and return what has become of the gallery in words.

    Until all is done, the studio goes on with the present model; a problem or a cancellation changes nothing.

    Args:
        session: The studio.
        path: The bundle.
        way: "carry", "keep" or "empty"; does not matter if the gallery fits.
        progress: Receives the progress.

    Raises:
        HmdrnError: The bundle cannot be opened, or the gallery not be carried over.
    """
    progress("opening the model", 0, 0)
    plan = plan_switch(session, open_bundle(path))
    recognizer = load(path, plan.path if plan.fits and plan.path.exists() else None, threads=session.threads)
    recognizer.matcher.keep_thumbnails = True
    name = recognizer.bundle.manifest.name
    if plan.fits:
        session.use(recognizer, plan.path)
        return f"{name} is in use now. The gallery fits it as it is."
    if way == CARRY:
        carried, _ = reenroll(session.gallery, recognizer, skip_missing=True, report=progress)
        _replace_gallery(recognizer.gallery, carried)
        if plan.rate is not None and recognizer.background is not None:
            progress("setting the rate", 0, 0)
            calibrate_threshold(recognizer, plan.rate)
        progress.check()
        save_gallery(recognizer.gallery, plan.path)
    elif way == KEEP and plan.existing is not None:
        recognizer = load(path, plan.path, threads=session.threads)
        recognizer.matcher.keep_thumbnails = True
        progress.check()
    elif way == EMPTY and plan.existing is not None:
        raise HmdrnError(f"{plan.path.name} is there already: use it, or replace it")
    session.use(recognizer, plan.path)
    count = len(recognizer.gallery)
    return f"{name} is in use now, with {count} species in {plan.path.name}."


def _replace_gallery(gallery: Gallery, other: Gallery) -> None:
    gallery.update(lambda now: other.state)


def _find_path(session: StudioSession, name: str, network: Network) -> Path:
    """Return the file that the galleries of a network have: the first one, or one beside it."""
    home = session.home
    text = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "model"
    paths = (
        home,
        home.with_name(f"{home.stem}-{text}{home.suffix}"),
        home.with_name(f"{home.stem}-{network.fingerprint[:12]}{home.suffix}"),
    )
    for path in paths:
        if path == home and not path.exists():
            continue  # the first model's, even while it has no species
        if not path.exists() or load_gallery(path).network.fingerprint == network.fingerprint:
            return path
    return paths[-1]
