"""Attacks on a studio that the pages' own tests do not cover."""

from __future__ import annotations

import http.client
import io
import socket
import struct
import time
import zipfile
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest
from drawn_images import png_header
from studio_browser import served

import hmdrn

pytest.importorskip("starlette", reason="needs the extra `studio`")

from hmdrn.studio import connections
from hmdrn.studio import server as server_module
from hmdrn.studio.access import COOKIE, Access


def pack(photos, *members: tuple[str, bytes]) -> bytearray:
    """A zip of a species' photos and further members."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, data in [*((name, data) for _, (name, data, _) in photos), *members]:
            archive.writestr(f"Ghost Moth/{name}", data)
    return bytearray(file.getvalue())


def claim(archive: bytearray, name: str, size: int) -> bytes:
    """A zip whose headers claim another unpacked size of a member."""
    for signature, size_at, name_at in ((b"PK\x03\x04", 22, 30), (b"PK\x01\x02", 24, 46)):
        place = archive.index(name.encode())
        while not archive[place - name_at :].startswith(signature):
            place = archive.index(name.encode(), place + 1)
        archive[place - name_at + size_at : place - name_at + size_at + 4] = struct.pack("<I", size)
    return bytes(archive)


def send_zip(studio, data: bytes) -> str:
    return studio.post("/enroll", files=[("photos", ("site.zip", bytes(data), "application/zip"))])


def test_an_image_bomb_in_a_zip_is_named_and_the_rest_enrolled(studio, photos, gallery):
    text = send_zip(studio, pack(photos[0], ("bomb.png", png_header(60_000, 60_000))))
    assert "bomb.png" in text
    assert "60000" in text
    assert hmdrn.load_gallery(gallery).species["Ghost Moth"].shots == 3


def test_a_zip_that_claims_to_unpack_to_4_gb_changes_nothing(studio, photos, gallery):
    before = gallery.read_bytes()
    member = "Ghost Moth/bomb.png"
    text = send_zip(studio, claim(pack(photos[0], ("bomb.png", b"0")), member, 4 * 10**9))
    assert "unpacks to 4000000000 bytes" in text
    assert gallery.read_bytes() == before


def test_a_zip_that_unpacks_to_more_than_it_claims_is_not_unpacked(studio, photos, gallery):
    member = "Ghost Moth/bomb.png"
    text = send_zip(studio, claim(pack(photos[0], ("bomb.png", bytes(4 << 20))), member, 1000))
    assert "bomb.png" in text
    assert hmdrn.load_gallery(gallery).species["Ghost Moth"].shots == 3


def test_a_zip_of_a_hundred_thousand_members_is_refused_unlisted(studio, photos, gallery):
    before, count = gallery.read_bytes(), 100_000
    archive = bytes(pack(photos[0][:1]))
    start, end = archive.index(b"PK\x01\x02"), archive.index(b"PK\x05\x06")
    members = archive[start:end] * count
    tail = archive[end : end + 8] + struct.pack("<HHIIH", 65535, 65535, len(members), start, 0)
    text = send_zip(studio, archive[:start] + members + tail)
    assert "there are too many files, at most 1000 at once" in text
    assert gallery.read_bytes() == before


def serve(stack: ExitStack, studio, access: Access) -> int:
    """The port of loopback where a studio is up."""
    return urlsplit(stack.enter_context(served(studio.session, access))).port


def ask(port: int, method: str, path: str, **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection("localhost", port, timeout=20)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def test_a_session_is_worth_nothing_at_another_studio(studio, gallery):
    # A cookie belongs to a host, not to a port: browsers send it to the other studio by themselves.
    before = gallery.read_bytes()
    accesses = [Access(token=f"secret of studio {number}") for number in range(2)]
    with ExitStack() as stack:
        own, other = (serve(stack, studio, access) for access in accesses)
        link = f"/gallery?token={accesses[0].token.replace(' ', '%20')}"
        cookie = ask(own, "GET", link)[1]["set-cookie"].partition(";")[0]
        assert cookie.startswith(COOKIE)
        assert ask(own, "GET", "/gallery", cookie=cookie)[0] == 200
        assert ask(other, "GET", "/gallery", cookie=cookie)[0] == 401
        assert ask(other, "GET", link)[0] == 401
        assert ask(other, "POST", "/gallery/undo", cookie=cookie)[0] == 401
        upgrade = {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}
        assert ask(own, "GET", "/live/picture", cookie=cookie, **upgrade)[0] == 403
    assert gallery.read_bytes() == before


def test_of_200_connections_100_are_served_and_nothing_is_lost(studio, photos, gallery):
    studio.post("/enroll", files=photos[0], label="Ghost Moth")
    before = gallery.read_bytes()
    request = b"GET /version HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n"
    with ExitStack() as servers:
        port = serve(servers, studio, Access())
        with ExitStack() as stack:
            answers = []
            for _ in range(200):
                client = stack.enter_context(socket.create_connection(("127.0.0.1", port), 20))
                client.sendall(request)
                answers.append(client.recv(1000))
        refused = [answer for answer in answers if answer.startswith(b"HTTP/1.1 503")]
        served = [answer for answer in answers if answer.startswith(b"HTTP/1.1 200")]
        assert len(refused) + len(served) == 200
        assert 90 <= len(served) <= server_module.MAX_CONNECTIONS == 100
        assert all(b"Service Unavailable" in answer for answer in refused)
        assert gallery.read_bytes() == before
        assert ask(port, "GET", "/version")[2].decode() == studio.session.version
        assert ask(port, "POST", "/gallery/undo")[0] == 303
    assert "Ghost Moth" not in hmdrn.load_gallery(gallery).species


@pytest.mark.parametrize("parts", [[], [b"GET /version HTTP/1.1\r\n", b"Host: loc", b"alho"]])
def test_100_connections_without_a_request_keep_nobody_out_for_long(studio, monkeypatch, parts):
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 0.3)
    with ExitStack() as stack:
        port = serve(stack, studio, Access(token="secret"))
        clients = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), 20))
            for _ in range(server_module.MAX_CONNECTIONS)
        ]
        for part in parts:
            for client in clients:
                client.sendall(part)
        for client in clients:
            assert client.recv(1000) == b""
        assert ask(port, "GET", "/gallery?token=secret")[0] == 303


def test_the_body_of_a_refused_request_does_not_keep_a_connection_open(studio, monkeypatch):
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 0.3)
    with ExitStack() as stack:
        port = serve(stack, studio, Access(token="secret"))
        client = stack.enter_context(socket.create_connection(("127.0.0.1", port), 20))
        client.sendall(b"POST /enroll HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n")
        assert client.recv(2000).startswith(b"HTTP/1.1 401")
        began = time.monotonic()
        client.sendall(b"1")
        while client.recv(1000):
            pass
        assert time.monotonic() - began < 8  # an idle connection stays for ten seconds


def test_a_request_that_takes_long_to_answer_is_answered(studio, monkeypatch):
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 0.1)
    monkeypatch.setattr(type(studio.session), "version", property(lambda session: time.sleep(0.4) or "late"))
    with ExitStack() as stack:
        assert ask(serve(stack, studio, Access()), "GET", "/version")[2] == b"late"
