"""Names of sources, and messages for wrong ones."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from films import film
from PIL import Image

import hmdrn
from hmdrn.watching.sources import parse_source

STREAM = "rtsp://keeper:secret@10.0.0.7:554/stream"


@pytest.mark.parametrize(
    ("source", "kind", "target", "live"),
    [
        (0, "camera", 0, True),
        ("1", "camera", 1, True),
        (STREAM, "stream", STREAM, True),
        ("http://10.0.0.7/video", "stream", "http://10.0.0.7/video", True),
        ("videotestsrc ! appsink", "pipeline", "videotestsrc ! appsink", True),
        ("/dev/null", "camera", "/dev/null", True),
    ],
)
def test_a_source_is_recognized_by_its_spelling(source, kind, target, live):
    parsed = parse_source(source)
    assert (parsed.kind, parsed.target, parsed.live) == (kind, target, live)


def test_a_folder_and_a_photo_are_photos_and_another_file_is_a_video(site):
    assert parse_source(site.film.parent).kind == "photos"
    assert parse_source(str(site.photos[0])).kind == "photos"
    parsed = parse_source(site.film)
    assert (parsed.kind, parsed.live) == ("video", False)


def test_a_csi_camera_is_a_pipeline_of_its_sensor():
    parsed = parse_source("csi://1")
    assert parsed.kind == "pipeline"
    assert parsed.name == "csi://1"
    assert str(parsed.target).startswith("nvarguscamerasrc sensor-id=1 ! ")
    assert str(parsed.target).rpartition(" ! ")[2].startswith("appsink ")
    assert "format=BGR !" in str(parsed.target)


def test_no_message_shows_a_password():
    assert "secret" not in parse_source(STREAM).name
    assert "secret" not in parse_source("rtspsrc location=rtsp://a:secret@b/c ! appsink").name
    with pytest.raises(hmdrn.SourceError) as refusal:
        parse_source("gopher://a:secret@b/c")
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    "address",
    [
        "rtsp://keeper:s3/c r@et@10.0.0.7/x",
        "http://10.0.0.7/video.cgi?user=keeper&pwd=s3cret",
        "rtspsrc location=rtsp://10.0.0.7/x user-id=k33per user-pw=s3cret ! appsink",
        "keeper:s3cret@10.0.0.7/x",
        "rtsp:/keeper:s3cret@10.0.0.7/x",
        "gopher://keeper:s3cret@10.0.0.7/x",
    ],
)
def test_a_password_is_in_no_name_repr_or_refusal(address):
    try:
        shown = repr(parse_source(address))
    except hmdrn.SourceError as error:
        shown = repr(error)
    assert "10.0.0.7" in shown
    assert not [part for part in ("s3", "cret", "c r", "et@") if part in shown], shown


def test_events_of_a_source_show_no_password(recognizer, monkeypatch):
    from hmdrn.watching import reader_thread

    def fail(source, stall_after, is_closed):
        raise RuntimeError(f"cannot connect to {source.target}")

    monkeypatch.setattr(reader_thread, "open_capture", fail)
    with pytest.raises(hmdrn.SourceError, match=r"rtsp://\*\*\*@10\.0\.0\.7:554/stream") as refusal:
        list(hmdrn.watch(recognizer, STREAM))
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("name", ["2024", "robin ! night", "rtsp:", "٢", " 7 "])
def test_a_path_is_a_file_or_folder_whatever_its_name(tmp_path, monkeypatch, name):
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    assert [parse_source(path).kind for path in (Path(name), tmp_path / name)] == ["photos", "photos"]


@pytest.mark.parametrize("name", ["7", "http://camera/x", "csi://0", "a ! appsink"])
def test_a_path_that_does_not_exist_is_no_camera(name):
    with pytest.raises(hmdrn.SourceError, match="no such file or folder"):
        parse_source(Path(name))


def test_a_number_that_also_names_a_folder_is_asked_about(tmp_path, monkeypatch):
    (tmp_path / "2024").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(hmdrn.SourceError, match=r"give './2024' for that, '/dev/video2024' for the camera"):
        parse_source("2024")
    assert parse_source("./2024").kind == "photos"
    assert parse_source(2024).kind == "camera"
    assert parse_source("2025").kind == "camera"


def test_a_text_that_names_a_file_is_that_file(tmp_path, monkeypatch):
    (tmp_path / "robin ! night").mkdir()
    monkeypatch.chdir(tmp_path)
    assert parse_source("robin ! night").kind == "photos"


@pytest.mark.parametrize("text", ["٢", "²", "1" * 5000, "csi://٢"])
def test_only_a_short_number_in_ascii_is_a_camera(text):
    with pytest.raises(hmdrn.SourceError):
        parse_source(text)


@pytest.mark.parametrize(
    "source", ["missing.mp4", "", "gopher://b/c", "-1", -1, True, None, "~nobody-here/film.mp4"]
)
def test_an_invalid_source_is_refused_by_name(source):
    with pytest.raises(hmdrn.SourceError, match=str(source) or "''"):
        parse_source(source)


def test_an_invalid_video_is_refused_when_it_is_read(tmp_path, recognizer):
    for name, content in (("text.mp4", b"no film" * 100), ("empty.mp4", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(hmdrn.SourceError, match=f"{name}: not a video"):
            list(hmdrn.watch(recognizer, tmp_path / name))


def test_a_video_that_has_lost_its_frames_is_refused_as_empty(tmp_path, recognizer, site):
    film = bytearray(site.film.read_bytes())
    start = film.index(b"mdat")
    end = film.index(b"moov")
    film[start + 4 : end - 4] = bytes(end - start - 8)
    (tmp_path / "blank.mp4").write_bytes(film)
    with pytest.raises(hmdrn.SourceError, match=r"blank\.mp4 has no frame that can be read"):
        list(hmdrn.watch(recognizer, tmp_path / "blank.mp4"))


def test_a_truncated_video_is_classified_to_its_end_and_reported(tmp_path, recognizer):
    colors = [Image.new("RGB", (64, 64), (9 * i, 60, 90)) for i in range(20)]
    whole = film(tmp_path / "whole.avi", colors, seconds=0.1, side=64).read_bytes()
    (tmp_path / "cut.avi").write_bytes(whole[: len(whole) // 2])
    events = []
    watching = hmdrn.watch(recognizer, tmp_path / "cut.avi", on_event=events.append)
    assert 10 < len(list(watching)) < 50
    assert [event.state for event in events] == ["short"]
    assert "cut.avi ended" in events[0].message
    events.clear()
    list(hmdrn.watch(recognizer, tmp_path / "whole.avi", on_event=events.append))
    assert events == []


def test_a_missing_device_or_stream_is_refused_at_first(recognizer):
    with pytest.raises(hmdrn.SourceError, match="cannot open camera 99: no such device"):
        list(hmdrn.watch(recognizer, 99))
    with pytest.raises(hmdrn.SourceError, match=r"cannot open http://127.0.0.1:9/: check the address"):
        list(hmdrn.watch(recognizer, "http://127.0.0.1:9/"))


@pytest.mark.parametrize(
    ("error", "version", "message"),
    [
        (
            "ModuleNotFoundError(\"No module named 'cv2'\", name='cv2')",
            "2.3.1",
            "which is not installed: .*camera",
        ),
        ("ImportError('numpy.core.multiarray failed to import')", "2.3.1", r"NumPy 2\.3\.1: .*'numpy<2'$"),
        ("ImportError('numpy.core.multiarray failed to import')", "1.24.2", "multiarray failed to import$"),
        (
            "ImportError('libGL.so.1: cannot open')",
            "2.3.1",
            r"cannot be imported: .*libGL\.so\.1: cannot open$",
        ),
        ("SystemError('broken')", "2.3.1", "cannot be imported: SystemError: broken$"),
    ],
)
def test_an_opencv_that_is_broken_is_not_said_to_be_missing(monkeypatch, tmp_path, error, version, message):
    from hmdrn.watching.opencv import open_cv2

    (tmp_path / "cv2.py").write_text(f"raise {error}")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "cv2", raising=False)
    monkeypatch.setattr("numpy.__version__", version)
    with pytest.raises(hmdrn.MissingDependencyError, match=message):
        open_cv2("testing")


def test_a_pipeline_needs_an_opencv_with_gstreamer(recognizer):
    from hmdrn.watching.opencv import has_gstreamer, open_cv2

    if has_gstreamer(open_cv2("testing")):
        pytest.skip("this build of OpenCV has GStreamer")
    with pytest.raises(hmdrn.SourceError, match=r"has no GStreamer, which csi://0 needs"):
        list(hmdrn.watch(recognizer, "csi://0"))


def test_a_folder_without_photos_is_refused(tmp_path, recognizer):
    with pytest.raises(hmdrn.SourceError, match="holds no photo"):
        list(hmdrn.watch(recognizer, tmp_path))


@pytest.mark.skipif(sys.platform != "linux", reason="this system's names are Unicode")
def test_a_film_whose_name_is_not_utf8_is_read_and_written(tmp_path, recognizer, site):
    from hmdrn.watching.overlay import OverlayVideo

    name = tmp_path / os.fsdecode(b"\xe9t\xe9.mp4")
    name.write_bytes(site.film.read_bytes())
    [result] = hmdrn.watch(recognizer, name, max_frames=1)
    overlay = OverlayVideo(tmp_path / os.fsdecode(b"\xe9.avi"))
    overlay.add(result, 30.0)
    overlay.close()
    assert len(list(hmdrn.watch(recognizer, tmp_path / os.fsdecode(b"\xe9.avi")))) == 1
    with pytest.raises(hmdrn.SourceError, match="cannot open"):
        list(hmdrn.watch(recognizer, os.fsdecode(b"http://127.0.0.1:9/\xe9")))
