"""`hmdrn explain` on drawn specimens."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure
from outcomes import assert_refused
from PIL import Image
from preprocessings import DEFAULT

import hmdrn as package
from hmdrn.loading import resolve_bundle
from hmdrn.plotting.explanation import _draw_difference, _legend, _View, format_headline
from hmdrn.plotting.odds import format_odds
from hmdrn_runtime.images.preprocessing import Preprocessing, find_visible_box, prepare


@pytest.fixture(scope="module")
def gallery(specimens, tmp_path_factory):
    """Of the drawn species, three photos each; not to be written to."""
    birds = package.load("default", threads=1)
    for folder in sorted(specimens.iterdir()):
        birds.enroll(folder.name, sorted(folder.glob("*.png"))[:3])
    path = tmp_path_factory.mktemp("explained") / "site.gallery"
    birds.save_gallery(path)
    return path


@pytest.fixture
def image(specimens):
    return min(specimens.rglob("*.png"))


def test_the_summary_agrees_with_classify_and_errors_sum_to_distances(hmdrn, gallery, image):
    (answer,) = hmdrn("classify", "default", image, "--gallery", gallery, "--json").json
    found = hmdrn("explain", "default", image, "--gallery", gallery, "--json").json
    assert found["schema"] == "hmdrn.explain/1"
    assert {k: found[k] for k in ("image", "label", "known", "probability", "margin")} == {
        k: answer[k] for k in ("image", "label", "known", "probability", "margin")
    }
    assert found["compared"] == answer["ranking"][:2]
    for level in found["levels"]:
        for errors, match in zip(level["errors"], answer["ranking"], strict=False):
            assert errors["label"] == match["label"]
            assert errors["sum"] == pytest.approx(match["distances"][level["name"]], rel=1e-4)
    first, second = found["compared"]
    total = sum(level["advantage"]["sum"] for level in found["levels"])
    assert total == pytest.approx(first["logit"] - second["logit"], rel=1e-3)


def test_picture_and_arrays_are_written_and_named(hmdrn, gallery, image, tmp_path):
    picture, arrays = tmp_path / "why.png", tmp_path / "why.npz"
    done = hmdrn("explain", "default", image, "-g", gallery, "-o", picture, "--arrays", arrays)
    assert done.code == 0, done.err
    assert f"picture: {picture}\narrays: {arrays}\n" in done.out
    assert done.err == ""
    with Image.open(picture) as drawn:
        assert drawn.width > 1200
        assert len(drawn.convert("RGB").getcolors(1 << 22)) > 1000
    with np.load(arrays) as saved:
        assert saved["errors_high"].shape == (2, 4, 4)
        assert saved["mask_share_mid"].shape == (8, 8)
        assert np.array_equal(saved["pixels"], prepare(image, DEFAULT))


@pytest.mark.slow
def test_a_part_of_the_photo_is_explained_beside_the_species_asked_for(hmdrn, gallery, image, tmp_path):
    labels = [m.label for m in package.load("default", gallery).classify(image, top=4).ranking]
    done = hmdrn(
        *("explain", "default", image, "-g", gallery, "--box", "-5,8,70,90", "--against", labels[-1]),
        *("-o", tmp_path / "why.svg", "--json"),
    )
    assert done.code == 0, done.err
    assert done.json["box"] == [-5, 8, 70, 90]
    assert labels[-1] in {match["label"] for match in done.json["compared"]}
    assert (tmp_path / "why.svg").read_text().startswith("<?xml")


@pytest.mark.slow
def test_with_one_species_there_is_a_picture_too(hmdrn, photo, tmp_path):
    image = photo("species/Jay/a.png")
    assert hmdrn("enroll", "default", tmp_path / "species", "--gallery", tmp_path / "g").code == 0
    done = hmdrn("explain", "default", image, "-g", tmp_path / "g", "-o", tmp_path / "why.png", "--json")
    assert done.code == 0, done.err
    assert [match["label"] for match in done.json["compared"]] == ["Jay"]
    assert all(level["advantage"] is None for level in done.json["levels"])
    assert (tmp_path / "why.png").stat().st_size > 10_000
    assert "Jay, 100.0 %" in hmdrn("explain", "default", image, "-g", tmp_path / "g").out


@pytest.mark.parametrize("known", [True, False])
def test_a_verdict_is_in_the_headline_and_in_the_table(known, hmdrn, gallery, image, tmp_path):
    birds = package.load("default", gallery, threads=1)
    threshold = -1e9 if known else 1e9
    birds.gallery.calibrate(
        {"threshold": threshold, "temperature": 1.0, "far": 0.05, "background": birds.background.digest}
    )
    birds.save_gallery(tmp_path / "calibrated.gallery")
    explanation = birds.explain(image)
    assert format_headline(explanation).startswith(
        "Known: " if known else "Unknown, none of the enrolled species"
    )
    assert explanation.matches[0].label in format_headline(explanation)
    done = hmdrn("explain", "default", image, "-g", tmp_path / "calibrated.gallery")
    assert done.code == 0
    assert ("but unknown" in done.out) is not known


def test_one_temperature_is_in_the_odds_and_in_the_probabilities(hmdrn, gallery, image, tmp_path):
    birds = package.load("default", gallery, threads=1)
    birds.gallery.calibrate(
        {"threshold": 0.0, "temperature": 0.5, "far": 0.05, "background": birds.background.digest}
    )
    birds.save_gallery(tmp_path / "calibrated.gallery")
    found = hmdrn("explain", "default", image, "-g", tmp_path / "calibrated.gallery", "--json").json
    first, second = found["compared"]
    assert found["temperature"] == 0.5
    ratio = np.log(first["probability"] / second["probability"])
    assert found["log_odds"] == pytest.approx(ratio, rel=1e-3)
    assert sum(level["advantage"]["log_odds"] for level in found["levels"]) == pytest.approx(ratio, rel=1e-3)
    shown = hmdrn("explain", "default", image, "-g", tmp_path / "calibrated.gallery").out
    assert f"log-odds of {ratio:+.2f}: {first['label']} is {format_odds(ratio)} as probable as" in shown
    assert f" {format_odds(ratio)} as probable as" in _legend(birds.explain(image))


def test_the_maps_of_both_levels_are_drawn_on_one_scale(gallery, image):
    birds = package.load("default", gallery, threads=1)
    explanation = birds.explain(image)
    figure = Figure()
    with Image.open(image) as photo:
        view = _View(photo, (0.0, 0.0, 96.0, 96.0))
    scales = set()
    for level, axes in enumerate(figure.subplots(1, 2)):
        _draw_difference(figure, axes, level, explanation, view)
        scales.add(axes.images[-1].get_clim())
    assert len(scales) == 1


def test_mistakes_are_refused_in_one_line(hmdrn, gallery, image, tmp_path):
    explain = ("explain", "default", image, "-g", gallery)
    assert_refused(hmdrn(*explain, "--against", "Dodo"), "no species 'Dodo'")
    label = list(package.load_gallery(gallery).species)[1]
    assert_refused(hmdrn(*explain, "--against", label.upper()), f"did you mean {label}? it has ")
    assert_refused(hmdrn(*explain, "--box", "1,2,3"), "four numbers")
    assert_refused(hmdrn(*explain, "--box", "900,900,990,990"), "lies outside")
    assert_refused(hmdrn(*explain, "-o", tmp_path / "no" / "why.png"), "does not exist")
    assert_refused(hmdrn(*explain, "-o", tmp_path), "is a folder")
    assert_refused(hmdrn(*explain, "-o", tmp_path / "why.bmpp"), "suffix")
    assert_refused(hmdrn("explain", "default", tmp_path / "no.jpg", "-g", gallery), "no.jpg")


def test_without_matplotlib_there_is_a_table_and_the_picture_is_refused(hmdrn, gallery, image, monkeypatch):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "matplotlib" else find(name, *a)
    )
    assert_refused(hmdrn("explain", "default", image, "-g", gallery, "-o", "why.png"), "'.[plots]'")
    done = hmdrn("explain", "default", image, "-g", gallery)
    assert done.code == 0
    assert "add -o why.png" in done.err


def test_what_is_read_is_never_replaced(hmdrn, gallery, image, tmp_path):
    photo, species = tmp_path / "p.jpg", tmp_path / "g.npz"
    photo.write_bytes(image.read_bytes())
    species.write_bytes(gallery.read_bytes())
    (tmp_path / "link.png").symlink_to(photo)
    bundle = resolve_bundle("default")
    explain = ("explain", "default", photo, "-g", species)
    for option in (
        ("-o", photo),
        ("-o", tmp_path / "." / "p.jpg"),
        ("-o", tmp_path / "link.png"),
        ("--arrays", photo),
        ("--arrays", species),
        ("--arrays", bundle / "manifest.json"),
    ):
        assert_refused(hmdrn(*explain, *option), "would replace an input")
    assert_refused(hmdrn(*explain, "--arrays", tmp_path / "other.jpg"), ".npz")
    assert photo.read_bytes() == image.read_bytes()
    assert species.read_bytes() == gallery.read_bytes()


@pytest.mark.parametrize("size", [(84, 84), (640, 480), (100, 134), (97, 301)])
@pytest.mark.parametrize("mode", ["crop", "squash"])
def test_the_part_that_the_network_sees_is_where_its_pixels_come_from(size, mode):
    """A photo whose colors give their place: red grows to the right, green downwards."""
    width, height = size
    across, down = np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height)
    photo = np.stack([255 * across, 255 * down, 0 * down], axis=2).round().astype(np.uint8)
    preprocessing = Preprocessing(mode, 84)
    pixels = prepare(photo, preprocessing).astype(float)
    x0, y0, x1, y1 = find_visible_box(width, height, preprocessing)
    for i in (8, 42, 76):
        expected = 255 * np.array([x0 + (i + 0.5) * (x1 - x0) / 84, y0 + (i + 0.5) * (y1 - y0) / 84])
        assert np.allclose(pixels[i, i, :2], expected / (width, height), atol=1.5)
