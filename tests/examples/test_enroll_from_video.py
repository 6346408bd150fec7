from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image

import hmdrn
from hmdrn_runtime.specimens.drawing import draw_specimens

cv2 = pytest.importorskip("cv2", reason="needs OpenCV: the extra camera")


@pytest.fixture(scope="module")
def video(once, drawn):
    """Motion JPEG: of each of the first species' eight specimens four frames, one of them blurred."""

    def make(path):
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 30, (128, 128))
        assert writer.isOpened()
        for image in drawn[0]:
            bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
            for frame in (bgr, bgr, cv2.GaussianBlur(bgr, (0, 0), 6), bgr):
                writer.write(frame)
        writer.release()

    return once("example-video.avi", make)


@pytest.fixture
def enroll(example, monkeypatch):
    """Run the example as a command, in this process."""

    def run(*arguments) -> int:
        monkeypatch.setattr(sys, "argv", ["enroll_from_video.py", *map(str, arguments)])
        return example("enroll_from_video.py").main()

    return run


def test_frames_are_rgb_and_every_so_manieth(example, video, drawn):
    frames = list(example("enroll_from_video.py").frames_of(str(video), every=4))
    assert len(frames) == len(drawn[0])
    assert [name for name, _ in frames[:3]] == ["frame 0 (0.0 s)", "frame 4 (0.1 s)", "frame 8 (0.3 s)"]
    for (_, frame), image in zip(frames, drawn[0], strict=True):
        # Red and blue mixed up would be far off; JPEG is off by a little.
        assert (
            np.abs(frame.astype(int) - image).mean() < 8 < np.abs(frame[..., ::-1].astype(int) - image).mean()
        )


def test_the_sharpest_frame_of_every_stretch_is_chosen(example, drawn):
    program = example("enroll_from_video.py")
    images = [cv2.GaussianBlur(image, (0, 0), 0.6) for image in drawn[:2].reshape(-1, *drawn.shape[2:])]
    images[6] = drawn[0, 6]  # the only one as sharp as it was, of the second quarter
    images[13] = images[12]  # a repetition
    images[1] = cv2.GaussianBlur(images[1], (0, 0), 6)
    frames = [program.sighted(image, "crop", str(number)) for number, image in enumerate(images)]
    chosen = [int(frame.name) for frame in program.choose(frames, 4)]
    assert len(chosen) == 4
    assert chosen == sorted(chosen)
    assert chosen[1] == 6
    assert chosen[-1] > 10
    assert not {1, 13} & set(chosen)
    assert len(program.choose(frames[:3], 5)) == 2
    assert program.choose([frames[1]] * 9, 5) == []


def test_a_video_makes_a_gallery_that_names_further_photos(enroll, video, drawn, labels, tmp_path, capsys):
    gallery = tmp_path / "new.gallery"
    assert enroll(video, labels[0], "--gallery", gallery, "--every", 1) == 0
    printed = capsys.readouterr().out.splitlines()
    recognizer = hmdrn.load("default", gallery=gallery, threads=1)
    shots = recognizer.gallery.species[labels[0]].shots
    assert shots == 5
    assert printed[0] == f"{labels[0]}: {shots} frames added, {shots} photos now"
    assert len(printed) == shots + 3
    numbers = [int(line.split()[1]) for line in printed[1 : shots + 1]]
    assert numbers == sorted(numbers)
    # The film's frames are 0 to 31: not all are of its first moments.
    assert numbers[-1] >= 16
    assert str(tmp_path / "new.gallery.png") in printed[-2]
    with Image.open(tmp_path / "new.gallery.png") as sheet:
        assert sheet.width > 500
    assert f"hmdrn gallery calibrate {gallery} --bundle default --far 0.05" in printed[-1]
    assert not [line for line in printed if "blurred" in line or "duplicate" in line]
    for label, images in zip(labels[1:], drawn[1:], strict=True):
        recognizer.enroll(label, images[:5])
    further = draw_specimens([3], 12, first=50, size=128)[0]
    right = sum(seen.label == labels[0] for seen in recognizer.classify_batch(further))
    assert right >= 8  # a third of 12 would be chance


def test_a_gallery_that_is_there_is_extended_and_says_what_is_alike(enroll, video, gallery, tmp_path, capsys):
    mine = tmp_path / "site7.gallery"
    mine.write_bytes(gallery.read_bytes())
    assert enroll(video, "From Film", "--gallery", mine, "--shots", 3) == 0
    printed = capsys.readouterr().out
    assert "From Film: 3 frames added, 3 photos now" in printed
    assert "most easily confused with" in printed
    assert len(hmdrn.load_gallery(mine)) == 4


def test_what_is_no_video_is_one_line_and_no_gallery(enroll, tmp_path, capfd):
    text = tmp_path / "clip.mp4"
    text.write_text("no video")
    for video in (text, tmp_path / "none.mp4"):
        assert enroll(video, "Moth", "--gallery", tmp_path / "new.gallery") == 2
        last = capfd.readouterr().err.splitlines()[-1]  # OpenCV's own words may come before it
        assert last == f"error: {video} cannot be opened as a video: check the path and the format"
    assert not (tmp_path / "new.gallery").exists()


def test_a_video_of_nothing_that_can_be_seen_is_refused(enroll, tmp_path, capsys):
    dark = tmp_path / "night.avi"
    writer = cv2.VideoWriter(str(dark), cv2.VideoWriter_fourcc(*"MJPG"), 30, (128, 128))
    for _ in range(6):
        writer.write(np.zeros((128, 128, 3), np.uint8))
    writer.release()
    assert enroll(dark, "Moth", "--gallery", tmp_path / "new.gallery", "--every", 1) == 2
    assert "was sharp and well lit" in capsys.readouterr().err
