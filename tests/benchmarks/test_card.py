"""A card made of links, and the figures of the runs that label it."""

from __future__ import annotations

from PIL import Image

from benchmarks.card import Run, link_card, summarize, write_photos


def test_a_card_is_links_to_photos_of_a_cameras_size(tmp_path):
    images = [Image.new("RGB", (32, 32), color) for color in ("red", "blue")]
    write_photos(tmp_path / "originals", images, (64, 48))
    link_card(tmp_path / "card", tmp_path / "originals", 203)
    names = sorted(path.relative_to(tmp_path / "card").as_posix() for path in tmp_path.glob("card/*/*"))
    assert (len(names), names[0], names[-1]) == (203, "100MEDIA/IMG_00000.JPG", "102MEDIA/IMG_00202.JPG")
    with Image.open(tmp_path / "card" / names[1]) as photo:
        assert photo.size == (64, 48)
        assert len(photo.convert("L").getcolors(256)) > 3, "a camera has noise"


def test_the_figures_of_a_run_that_was_killed_and_continued():
    killed, last = Run(4.0, 5.0, {}), Run(6.0, 7.0, {"photos": 1000, "seen": 400, "labeled": 600})
    values = summarize(killed, last, 1000)
    assert (values["photos_a_second"], values["cpu_ms_a_photo"]) == (100.0, 12.0)
    assert values["complete_without_repeat"]
    repeated = Run(6.0, 7.0, {"photos": 1000, "seen": 400, "labeled": 601})
    assert not summarize(killed, repeated, 1000)["complete_without_repeat"]
