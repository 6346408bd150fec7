"""Engines are optimized for the number of classes that runs, with padding and background species."""

from __future__ import annotations

import dataclasses

import pytest
from gallery_files import photo, sample

from hmdrn.loading import resolve_bundle
from hmdrn_export.tensorrt.profiles import ShapeBounds, default_bounds, fit_gallery, profile_shapes
from hmdrn_runtime.bundle.bundle import open_bundle
from hmdrn_runtime.errors import GalleryError
from hmdrn_runtime.gallery.gallery import Gallery
from hmdrn_runtime.open_set.background import open_background
from hmdrn_runtime.open_set.threshold import Calibration


@pytest.fixture(scope="module")
def bundle():
    """The default bundle, with its 128 background species."""
    return open_bundle(resolve_bundle("default"))


def enroll(bundle, species, calibrated=False):
    gallery = Gallery(bundle.manifest.network)
    for number in range(species):
        gallery.add(f"species {number}", [photo(gallery.network, number)])
    if calibrated:
        gallery.calibrate(Calibration(0.0, 1.0, 0.05, open_background(bundle).digest).to_dict())
    return gallery


@pytest.mark.parametrize(
    ("species", "calibrated", "most", "usual"),
    [
        (3, False, 1000, 8),
        (20, False, 1000, 32),
        (20, True, 1000, 256),
        (20, True, 100, 100),
        (0, False, 1000, 8),
    ],
)
def test_the_optimum_is_the_padded_number_of_classes_of_the_gallery(bundle, species, calibrated, most, usual):
    bounds = ShapeBounds(classes=(1, 10, most))
    fitted = fit_gallery(bounds, bundle, enroll(bundle, species, calibrated))
    assert fitted == dataclasses.replace(bounds, classes=(1, usual, most))


def test_without_a_gallery_the_optimum_is_for_ten_species_and_the_background(bundle):
    network = bundle.manifest.network
    bounds = fit_gallery(default_bounds(network), bundle)
    operator = profile_shapes("classify", bundle.graph("classify"), network.levels, bounds)["operator"]
    assert [rows for rows, _ in operator] == [1, 256, 1000]
    manifest = dataclasses.replace(bundle.manifest, model={})
    plain = dataclasses.replace(bundle, manifest=manifest)
    assert fit_gallery(default_bounds(network), plain).classes == (1, 16, 1000)


def test_a_gallery_of_another_network_is_refused(bundle):
    with pytest.raises(GalleryError, match="the gallery was enrolled with other weights"):
        fit_gallery(ShapeBounds(), bundle, sample())
