from __future__ import annotations

import io
import re
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import hmdrn

pytest.importorskip("fastapi", reason="needs FastAPI: the extra examples")
pytest.importorskip("multipart", reason="needs python-multipart: the extra examples")
httpx = pytest.importorskip("httpx2", reason="needs httpx2: the extra dev")
pytest.importorskip("uvicorn", reason="needs uvicorn: the extra examples")


def jpeg(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=95)
    return file.getvalue()


def many(images) -> list:
    return [("photos", (f"{number}.jpg", jpeg(image))) for number, image in enumerate(images)]


@pytest.fixture
def saved(tmp_path) -> Path:
    return tmp_path / "site7.gallery"


@pytest.fixture
def client(example, saved):
    """The service with an empty gallery, as a client sees it."""
    from starlette.testclient import TestClient

    app = example("service.py").create_app(hmdrn.load("default", threads=1), saved, max_bytes=200_000)
    with TestClient(app) as client:
        yield client


def detail(answer, status: int) -> str:
    assert answer.status_code == status, answer.text
    return answer.json()["detail"]


@pytest.mark.parametrize("path", ["M%e9sange", "%d6%aa%b8%fc", "wren%ff", "a/%80"])
def test_a_label_that_is_not_utf8_is_refused(client, drawn, path):
    for method in ("post", "delete"):
        files = {"files": many(drawn[0][:1])} if method == "post" else {}
        answer = getattr(client, method)(f"/species/{path}", **files)
        assert "not UTF-8" in detail(answer, 400)
    assert client.get("/species").json() == []
    assert client.post("/species/M%C3%A9sange", files=many(drawn[0][:1])).json()["label"] == "Mésange"


def test_enrolled_species_are_recognized_listed_and_forgotten(client, drawn, labels, saved):
    for label, images in zip(labels, drawn, strict=True):
        answer = client.post(f"/species/{label}", files=many(images[:5]))
        assert answer.status_code == 200, answer.text
        report = answer.json()
        assert (report["label"], report["added"], report["shots"]) == (label, 5, 5)
        assert [photo["name"] for photo in report["photos"]] == [f"{n}.jpg" for n in range(5)]
        assert hmdrn.load_gallery(saved).species[label].shots == 5  # saved at once
    assert report["nearest"]["label"] in labels
    assert client.get("/species").json() == [{"label": label, "shots": 5} for label in sorted(labels)]
    named = [client.post("/classify", files={"photo": jpeg(images[6])}).json() for images in drawn]
    assert [answer["label"] for answer in named] == labels
    here = hmdrn.load("default", gallery=saved, threads=1).classify(jpeg(drawn[0][6]))
    assert named[0]["probability"] == pytest.approx(here.probability, abs=1e-4)
    assert len(client.post("/classify?top=1", files={"photo": jpeg(drawn[0][6])}).json()["ranking"]) == 1
    assert client.delete(f"/species/{labels[0]}").status_code == 204
    assert [s["label"] for s in client.get("/species").json()] == sorted(labels[1:])
    assert labels[0] not in hmdrn.load_gallery(saved)
    health = client.get("/health").json()
    assert (health["status"], health["species"], health["bundle"]) == ("ok", 2, "default.hmdrn")


def test_mistakes_of_the_caller_are_4xx_with_the_reason(client, drawn):
    photo = jpeg(drawn[0][0])
    assert "nothing has been enrolled" in detail(client.post("/classify", files={"photo": photo}), 409)
    assert "not an image" in detail(client.post("/classify", files={"photo": b"no image at all"}), 422)
    assert "is empty" in detail(client.post("/classify", files={"photo": b""}), 422)
    assert "cannot be decoded" in detail(client.post("/classify", files={"photo": photo[:400]}), 422)
    assert "Moth" in detail(client.delete("/species/Moth"), 404)
    assert "control characters" in detail(client.post("/species/Moth%07", files=many(drawn[0][:1])), 422)
    assert client.post("/classify").status_code == 422
    assert client.post("/classify?top=0", files={"photo": photo}).status_code == 422
    assert client.post("/species/Moth", files=many([drawn[0][0]] * 21)).status_code == 422
    assert client.get("/species").json() == []


def test_photos_of_another_species_than_the_label_are_doubted(client, drawn, labels):
    for label, images in zip(labels, drawn, strict=True):
        assert client.post(f"/species/{label}", files=many(images[:5])).json()["doubt"] is None
    doubt = client.post("/species/Impostor", files=many(drawn[0][5:])).json()["doubt"]
    assert f"look like {labels[0]!r}" in doubt


def test_a_bad_photo_keeps_all_from_being_enrolled(client, drawn, saved):
    files = [*many(drawn[0][:2]), ("photos", ("bad.jpg", b"no image at all"))]
    assert "not an image" in detail(client.post("/species/Moth", files=files), 422)
    assert client.get("/species").json() == []
    assert not saved.exists()


def test_a_request_that_is_too_large_is_refused(client, drawn):
    large = {"photo": bytes(250_000)}
    assert "more than 200000 bytes" in detail(client.post("/classify", files=large), 413)

    def chunks():
        """Without a Content-Length to go by."""
        yield b'--b\r\nContent-Disposition: form-data; name="photo"; filename="a.jpg"\r\n\r\n'
        for _ in range(25):
            yield bytes(10_000)

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    assert "more than 200000 bytes" in detail(
        client.post("/classify", content=chunks(), headers=headers), 413
    )


def test_a_label_with_a_slash_and_blanks_is_one_species(client, drawn):
    assert client.post("/species/Pieris napi%2Frapae", files=many(drawn[0][:1])).status_code == 200
    assert client.get("/species").json() == [{"label": "Pieris napi/rapae", "shots": 1}]
    assert client.delete("/species/Pieris napi%2Frapae").status_code == 204


def test_a_gallery_that_cannot_be_saved_is_the_devices_fault(example, drawn, tmp_path):
    from starlette.testclient import TestClient

    app = example("service.py").create_app(hmdrn.load("default", threads=1), tmp_path / "gone" / "g.gallery")
    with TestClient(app) as client:
        assert "not saved: " in detail(client.post("/species/Moth", files=many(drawn[0][:1])), 500)


def test_some_classify_while_another_enrolls_and_forgets(client, drawn, labels):
    for label, images in zip(labels, drawn, strict=True):
        client.post(f"/species/{label}", files=many(images[:5]))
    photo, stop, statuses = jpeg(drawn[0][6]), threading.Event(), []

    def classify() -> set[str]:
        seen = set()
        while not stop.is_set():
            answer = client.post("/classify", files={"photo": photo})
            statuses.append(answer.status_code)
            seen.add(answer.json()["label"])
        return seen

    with ThreadPoolExecutor(3) as threads:
        futures = [threads.submit(classify) for _ in range(3)]
        for _ in range(3):
            assert client.post("/species/Guest", files=many(drawn[1][5:7])).status_code == 200
            assert client.delete("/species/Guest").status_code == 204
        stop.set()
        assert all(future.result(30) == {labels[0]} for future in futures)
    assert set(statuses) == {200}


def test_it_serves_with_uvicorn_and_its_gallery_remains(
    examples, drawn, labels, gallery, tmp_path, environment
):
    mine = tmp_path / "site7.gallery"
    mine.write_bytes(gallery.read_bytes())
    command = [sys.executable, "-u", examples / "service.py", "--gallery", mine, "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as service:
        try:
            address = next(
                match.group()
                for line in service.stderr
                if (match := re.search(r"http://127\.0\.0\.1:\d+", line))
            )
            with httpx.Client(base_url=address, timeout=30) as client:
                answer = client.post("/classify", files={"photo": jpeg(drawn[1][6])})
                assert answer.json()["label"] == labels[1]
                assert client.post("/species/Guest", files=many(drawn[1][5:7])).status_code == 200
        finally:
            service.send_signal(signal.SIGTERM)
            service.communicate(timeout=30)
    assert "Guest" in hmdrn.load_gallery(mine)


def test_a_port_in_use_is_one_line(examples, tmp_path, environment):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [
            sys.executable,
            examples / "service.py",
            "--gallery",
            tmp_path / "g.gallery",
            "--port",
            port,
        ]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: cannot listen on 127.0.0.1, port {port} (")
    assert done.stderr.count("\n") == 1


def test_an_unwritable_gallery_is_reported_before_it_serves(example, monkeypatch, capsys, tmp_path):
    place = str(tmp_path / "none" / "g.gallery")
    monkeypatch.setattr(sys, "argv", ["service.py", "--gallery", place])
    assert example("service.py").main() == 2
    assert capsys.readouterr().err.startswith(f"error: cannot write gallery {place}")
