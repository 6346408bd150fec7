from __future__ import annotations

import io
import re
import tempfile
import threading
import zipfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from drawn_images import png_header
from PIL import Image

import hmdrn
from hmdrn.studio import uploads
from hmdrn.studio.jobs import JobCancelledError
from hmdrn_runtime.images.decoding import load_image
from hmdrn_runtime.images.preprocessing import crop_box, hash_pixels
from hmdrn_runtime.images.quality import prepare_photo
from hmdrn_runtime.specimens.drawing import draw_specimens
from hmdrn_runtime.specimens.traits import name_species

FIRST = name_species(0)


def contents(path):
    """Everything that classification depends on."""
    return {label: species.key for label, species in hmdrn.load_gallery(path).species.items()}


def zip_part(folder):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(folder.rglob("*.png")):
            archive.write(path, path.relative_to(folder).as_posix())
    return [("photos", ("site.zip", file.getvalue(), "application/zip"))]


def test_enrolling_gives_the_gallery_of_the_command(make_studio, specimens, enrolled, tmp_path):
    path, by_command = tmp_path / "page.gallery", enrolled / "site.gallery"
    make_studio(path).post("/enroll", files=zip_part(specimens))
    assert contents(path) == contents(by_command)
    records = hmdrn.load_gallery(path).species[FIRST].list_photos()
    command = hmdrn.load_gallery(by_command).species[FIRST].list_photos()
    assert [p.record.name for p in records] == [p.record.name for p in command]
    assert [p.record.verdict for p in records] == [p.record.verdict for p in command]


def test_the_first_species_makes_the_gallery(make_studio, photos, tmp_path):
    studio = make_studio(tmp_path / "new.gallery")
    assert "No species yet" in studio.get("/gallery")
    text = studio.post("/enroll", files=photos[0], label="Ghost Moth")
    assert "3 new photos of Ghost Moth" in text
    assert "0-0.png" in text
    assert hmdrn.load_gallery(tmp_path / "new.gallery").species["Ghost Moth"].shots == 3


def test_the_forecast_says_how_it_changed(studio, photos):
    before = str(studio.session.forecast().accuracy)
    text = studio.post("/enroll", files=photos[0], label="Ghost Moth")
    assert f"{studio.session.forecast().accuracy} get the right name (before: {before})" in text


def test_the_promise_has_both_shares_with_what_they_were(studio, photos):
    assert "Set how many strangers may pass" in studio.post("/enroll", files=photos[1][:1], label="Emperor")
    studio.post("/gallery/rate", rate="0.1")
    before = studio.session.forecast().known
    text = studio.post("/enroll", files=photos[0], label="Ghost Moth")
    after = studio.session.forecast().known
    assert re.fullmatch(r"\d+ % \(\d+ to \d+\)", str(after))
    assert f"{after} count as known (before: {before}), while at most 10 % of other species" in text


def decide(studio, action: str, label: str = "") -> str:
    return studio.post("/enroll/decide", batch="1", photo="0", action=action, label=label)


def test_a_photo_is_left_out(studio, photos, gallery):
    studio.post("/enroll", files=photos[0], label="Ghost Moth")
    assert "Photo 1: left out." in decide(studio, "leave-out")
    assert hmdrn.load_gallery(gallery).species["Ghost Moth"].shots == 2


def test_a_photo_is_moved_to_another_species(studio, photos, gallery):
    studio.post("/enroll", files=photos[0], label="Ghost Moth")
    digest = studio.session.batch.photos[0].report.digest
    assert f"moved to {FIRST}" in decide(studio, "move", FIRST)
    species = hmdrn.load_gallery(gallery).species
    assert digest in species[FIRST].digests
    assert digest not in species["Ghost Moth"].digests


def test_a_photo_that_is_kept_changes_nothing(studio, photos, gallery):
    studio.post("/enroll", files=photos[0], label="Ghost Moth")
    before = gallery.read_bytes()
    assert "kept" in decide(studio, "keep")
    assert gallery.read_bytes() == before


def test_a_decision_on_an_earlier_enrollment_is_refused(studio, photos):
    studio.post("/enroll", files=photos[0], label="Ghost Moth")
    studio.post("/enroll", files=photos[1], label="Emperor")
    assert "there is a newer enrollment" in decide(studio, "leave-out")


def test_undo_takes_an_enrollment_back(studio, photos, gallery):
    before = contents(gallery)
    studio.post("/enroll", files=photos[0], label="Ghost Moth")
    studio.post("/gallery/undo")
    assert contents(gallery) == before


@pytest.mark.parametrize(
    ("name", "data"),
    [("notes.png", b"hello"), ("bomb.png", png_header(60_000, 60_000)), ("empty.jpg", b"")],
)
def test_a_bad_photo_is_named_and_the_others_enrolled(studio, photos, gallery, name, data):
    text = studio.post("/enroll", files=[*photos[0], ("photos", (name, data, "image/png"))], label="Moth")
    assert name in text
    assert hmdrn.load_gallery(gallery).species["Moth"].shots == 3


def test_bad_photos_alone_change_nothing(studio, gallery):
    before = gallery.read_bytes()
    text = studio.post("/enroll", files=[("photos", ("a.png", b"hello", "image/png"))], label="Moth")
    assert "a.png" in text
    assert 'role="alert"' in text
    assert gallery.read_bytes() == before


def test_a_photo_without_species_is_refused(studio, photos):
    assert "give the species a name" in studio.post("/enroll", files=photos[0])


def test_a_zip_that_reaches_outside_is_refused(studio, gallery):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("../Moth/a.png", b"x")
    before = gallery.read_bytes()
    text = studio.post("/enroll", files=[("photos", ("evil.zip", file.getvalue(), "application/zip"))])
    assert "evil.zip has a member outside of itself" in text
    assert gallery.read_bytes() == before


def test_a_failed_write_leaves_nothing_in_memory(studio, photos, gallery, monkeypatch):
    def refuse(*arguments):
        raise hmdrn.GalleryError("the disk is full")

    monkeypatch.setattr(studio.session.recognizer, "save_gallery", refuse)
    assert "the disk is full" in studio.post("/enroll", files=photos[0], label="Moth")
    assert "Moth" not in studio.session.gallery
    assert studio.session.undoable is None


def test_every_field_and_picture_has_a_name(studio, photos):
    """No input without a label, no picture without a text, no two equal ids."""
    studio.post("/enroll", files=photos[0], label="Ghost Moth")
    for path in ("/enroll", "/gallery", "/species?label=Ghost Moth"):
        html = studio.client.get(path).text
        outside = re.sub(r"<label.*?</label>", "", html, flags=re.DOTALL)
        assert re.findall(r"<input(?![^>]*type=\"hidden\")[^>]*>", outside) == []
        assert [tag for tag in re.findall(r"<img[^>]*>", html) if "alt=" not in tag] == []
        ids = re.findall(r' id="([^"]*)"', html)
        assert len(ids) == len(set(ids))


def test_pictures_of_the_enrollment_are_sent(studio, photos):
    studio.post("/enroll", files=photos[0], label="Ghost Moth")
    picture = studio.client.get("/enroll/photo", params={"batch": "1", "photo": "0"})
    assert Image.open(io.BytesIO(picture.content)).size == (128, 128)
    assert studio.client.get("/enroll/photo", params={"batch": "1", "photo": "9"}).status_code == 404


def folder_part(root, paths):
    """The files of a folder as a browser sends them."""
    return [
        ("folder", (f"site/{path.relative_to(root).as_posix()}", path.read_bytes(), "image/png"))
        for path in paths
    ]


def test_a_folder_is_read_as_a_zip_of_it(make_studio, specimens, enrolled, tmp_path):
    path = tmp_path / "page.gallery"
    part = folder_part(specimens, sorted(specimens.rglob("*.png")))
    make_studio(path).post("/enroll", files=part)
    assert contents(path) == contents(enrolled / "site.gallery")


def test_a_folder_of_photos_alone_is_a_species(studio, photos, gallery):
    part = [("folder", (f"Ghost Moth/{name}", *rest)) for _, (name, *rest) in photos[0]]
    assert "3 new photos of Ghost Moth" in studio.post("/enroll", files=part)


@pytest.mark.parametrize("name", ["../Moth/a.png", "site/../../Moth/a.png", "/etc/Moth/a.png"])
def test_a_folder_that_reaches_outside_is_refused(studio, photos, gallery, name):
    before = gallery.read_bytes()
    _, (_, *rest) = photos[0][0]
    text = studio.post("/enroll", files=[("folder", (name, *rest))])
    assert 'role="alert"' in text
    assert gallery.read_bytes() == before


def test_a_crop_is_that_of_the_sdk(studio, photos, gallery):
    _, (_, data, _) = photos[0][0]
    studio.post("/enroll", files=photos[0][:2], label="Ghost Moth", crop="0,10,20,90,200")
    cropped = crop_box(load_image(data), (10, 20, 90, 200))
    expected = hash_pixels(prepare_photo(cropped, studio.session.recognizer.preprocessing, "a").pixels)
    species = hmdrn.load_gallery(gallery).species["Ghost Moth"]
    assert species.shots == 2
    assert expected in species.digests


@pytest.mark.parametrize("crop", ["0,1,2", "x,1,2,3,4", "0,a,b,c,d", "0,500,500,600,600", "0,9,9,3,3"])
def test_a_bad_crop_enrolls_nothing(studio, photos, gallery, crop):
    before = gallery.read_bytes()
    assert 'role="alert"' in studio.post("/enroll", files=photos[0][:1], label="Moth", crop=crop)
    assert gallery.read_bytes() == before


@pytest.mark.parametrize("name", ["<script>alert(1)</script>.png", '"><img src=x onerror=alert(1)>.png'])
def test_script_in_label_and_file_name_is_text(studio, photos, name):
    _, (_, *rest) = photos[0][0]
    studio.post("/enroll", files=[("photos", (name, *rest))], label="<script>alert(2)</script>")
    for path in ("/enroll", "/gallery", "/species?label=<script>alert(2)</script>"):
        html = studio.client.get(path).text
        assert "&lt;script&gt;alert(2)" in html
        assert "<script>alert" not in html
        assert "<img src=x" not in html


@pytest.mark.parametrize("name", ["../../evil.png", "/etc/evil.png", "C:\\evil.png"])
def test_a_photos_name_is_never_a_path(studio, photos, gallery, name):
    _, (_, *rest) = photos[0][0]
    before = set(gallery.parent.parent.rglob("*evil*"))
    studio.post("/enroll", files=[("photos", (name, *rest))], label="Moth")
    assert hmdrn.load_gallery(gallery).species["Moth"].shots == 1
    assert set(gallery.parent.parent.rglob("*evil*")) == before


class Interruption:
    """Holds an enrollment at its last step, before it is written."""

    def __init__(self, session, monkeypatch) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()
        open_trial = session._trial.open

        @contextmanager
        def hold(*arguments):
            with open_trial(*arguments) as trial:
                yield trial
            self.reached.set()
            self.go_on.wait(60)

        monkeypatch.setattr(session._trial, "open", hold)


def test_a_cancelled_enrollment_changes_nothing(studio, photos, gallery, monkeypatch):
    session, before = studio.session, (gallery.read_bytes(), studio.session.gallery.state)
    session.patience = 0.0
    interruption = Interruption(session, monkeypatch)
    text = studio.post("/enroll", files=[*photos[0], *photos[1]], label="Moth")
    assert "Cancel Adding photos" in text
    assert "<progress" in text
    interruption.reached.wait(60)
    assert "Moth" not in session.gallery
    session.jobs.cancel(session.jobs.status.number)
    interruption.go_on.set()
    session.jobs.wait(60)
    assert "Adding photos: cancelled" in studio.get("/enroll")
    assert (gallery.read_bytes(), session.gallery.state) == before
    assert (session.batch, session.undoable) == (None, None)


def test_changes_during_an_enrollment_stay(studio, photos, gallery, monkeypatch):
    session = studio.session
    session.patience = 0.0
    interruption = Interruption(session, monkeypatch)
    studio.post("/enroll", files=photos[0], label="Ghost Moth")
    interruption.reached.wait(60)
    studio.post("/gallery/rename", label=FIRST, new="Blue Morpho")
    with hmdrn.edit_gallery(gallery) as other:
        other.forget(name_species(1))
    interruption.go_on.set()
    session.jobs.wait(60)
    text = studio.get("/enroll")
    assert "Adding photos: 3 new photos of Ghost Moth." in text
    assert '<a href="/enroll" class="button">Show it</a>' not in text
    assert '<a href="/enroll" class="button">Show it</a>' in studio.get("/gallery")
    assert set(hmdrn.load_gallery(gallery).species) == {"Blue Morpho", "Ghost Moth", name_species(2)}
    assert session.undoable == "added 3 photos (Ghost Moth)"


def test_uploads_outlive_their_request_and_are_deleted(studio, photos, monkeypatch):
    session, folders = studio.session, Path(tempfile.gettempdir())
    session.patience = 0.0
    go_on, before = threading.Event(), set(folders.glob("hmdrn-studio-*"))
    prepare = uploads.prepare_upload

    def wait_and_prepare(*arguments):
        go_on.wait(60)
        return prepare(*arguments)

    monkeypatch.setattr(uploads, "prepare_upload", wait_and_prepare)
    studio.post("/enroll", files=photos[0], label="Ghost Moth")
    go_on.set()
    session.jobs.wait(60)
    assert session.jobs.status.message == "3 new photos of Ghost Moth."
    assert set(folders.glob("hmdrn-studio-*")) == before


def test_enrolling_does_not_wait_for_a_self_test(studio, photos):
    go_on = threading.Event()
    studio.session.jobs.start("Self-test", "/selftest", lambda progress: str(go_on.wait(60)))
    assert "3 new photos of Ghost Moth" in studio.post("/enroll", files=photos[0], label="Ghost Moth")
    go_on.set()
    studio.session.jobs.close()


def test_a_folder_comes_in_several_requests(studio, photos, gallery):
    part = [("folder", (f"site/{s}/{s}-{name}", *rest)) for s in "ab" for _, (name, *rest) in photos[0][:2]]
    key = ""
    for files in (part[:1], part[1:3]):
        key = studio.client.post("/enroll/part", data={"upload": key}, files=files).json()["upload"]
    assert "4 new photos of a, b." in studio.post("/enroll", files=part[3:], upload=key)
    records = [photo.record.name for photo in hmdrn.load_gallery(gallery).species["b"].list_photos()]
    assert records == ["b-0-0.png", "b-0-1.png"]
    assert "send it again" in studio.post("/enroll", files=part[3:], upload=key)


def test_too_many_files_are_refused_with_what_to_do(studio, photos, gallery):
    before, (_, (_, data, kind)) = gallery.read_bytes(), photos[0][0]
    part = [("folder", (f"site/Moth/{n}.png", data, kind)) for n in range(1001)]
    for text in (
        studio.post("/enroll", files=part),
        studio.post("/enroll", files=part[:1], upload=send_part(studio, part[:1000])),
    ):
        assert "at most 1000 at once: choose some species' folders at a time" in text
    assert gallery.read_bytes() == before


def send_part(studio, files) -> str:
    return studio.client.post("/enroll/part", files=files).json()["upload"]


def test_uploads_that_never_end_make_room_for_others(studio, photos, monkeypatch):
    first = send_part(studio, photos[0])
    keys = [send_part(studio, photos[1]) for _ in range(2)]
    assert "send it again" in studio.post("/enroll", upload=first, label="Moth")
    monkeypatch.setattr("hmdrn.studio.upload_folder.MAX_BYTES", 1000)
    assert "0 MB at once" in studio.post("/enroll", files=photos[0], upload=keys[0], label="Moth")


def test_a_burst_that_is_given_up_changes_nothing(studio, gallery):
    session, before = studio.session, gallery.read_bytes()
    (images,) = draw_specimens([7], 4, size=128)
    frames = [prepare_photo(image, session.recognizer.preprocessing, "frame") for image in images]
    steps: list[tuple[str, int, int]] = []

    def give_up(*step):
        steps.append(step)
        if step[0] == "writing the gallery":
            raise JobCancelledError

    with pytest.raises(JobCancelledError):
        session.enroll_frames("Moth", frames, give_up)
    assert ("choosing frames", 3, 4) in steps
    assert (gallery.read_bytes(), "Moth" in session.gallery) == (before, False)
    assert len(session.enroll_frames("Moth", frames).photos) > 1


def test_photos_of_the_first_species_have_none_to_compare_with(make_studio, photos, tmp_path):
    studio = make_studio(tmp_path / "new.gallery")
    text = studio.post("/enroll", files=photos[0], label="Ghost Moth")
    assert text.count("no other species to compare with") == 3
    assert "no other photo" not in text
