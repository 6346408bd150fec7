"""`hmdrn correct` on drawn specimens."""

from __future__ import annotations

from outcomes import assert_refused

from hmdrn_runtime.gallery.file import load_gallery


def test_a_photo_moves_to_its_species_and_the_expected_accuracy_is_shown(hmdrn, gallery, specimens):
    first, second = sorted(load_gallery(gallery))[:2]
    image = specimens / first / "0.png"
    outcome = hmdrn("correct", gallery, image, "--is", second, "--json")
    assert outcome.code == 0, outcome.err
    values = outcome.json
    assert (values["schema"], values["label"], values["changed"]) == ("hmdrn.correct/1", second, True)
    assert (values["moved_from"], values["removed"], values["shots"]) == ([first], [], 7)
    assert 0 <= values["expected_accuracy"]["after"]["share"] < values["expected_accuracy"]["before"]["share"]
    species = load_gallery(gallery).species
    assert (species[first].shots, species[second].shots) == (5, 7)
    back = hmdrn("correct", gallery, image, "--is", first)
    assert f"is moved from {second} to {first}; {first} has 6 photos now" in back.out
    assert "get the right label" in back.out
    assert f"is in {first} already" in hmdrn("correct", gallery, image, "--is", first).out
    alike = hmdrn("correct", gallery, image, "--is", first.upper())
    assert f"'{first.upper()}' and {first!r} count as two species: use one name" in alike.err


def test_mistakes_are_refused_in_one_line(hmdrn, gallery, specimens, tmp_path):
    image = next(specimens.rglob("*.png"))
    before = gallery.read_bytes()
    assert_refused(hmdrn("correct", tmp_path / "none", image, "--is", "Jay"), "no gallery at")
    assert_refused(hmdrn("correct", gallery, tmp_path / "none.jpg", "--is", "Jay"), "none.jpg")
    assert_refused(hmdrn("correct", gallery, image, "--is", " "), "is empty")
    assert_refused(hmdrn("correct", gallery, image), "--is")
    assert gallery.read_bytes() == before
