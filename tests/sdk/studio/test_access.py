from __future__ import annotations

import pytest

pytest.importorskip("starlette", reason="needs the extra `studio`")

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from hmdrn.studio import access as access_module
from hmdrn.studio.access import Access, Gate


async def count_bytes(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


def client_of(access: Access, base_url: str) -> TestClient:
    app = Starlette(routes=[Route("/page", count_bytes, methods=["GET", "POST"])])
    return TestClient(Gate(app, access), base_url=base_url)


@pytest.fixture
def local():
    return client_of(Access.for_host("127.0.0.1"), "http://127.0.0.1:8420")


@pytest.fixture
def remote():
    """A studio in the network, and a visitor without its link."""
    access = Access.for_host("0.0.0.0")
    return access, client_of(access, "http://192.0.2.7:8420")


def test_loopback_needs_no_token(local):
    assert local.get("/page").status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8420", "localhost.evil.example", ""])
def test_loopback_is_not_reached_by_a_foreign_name(local, host):
    assert local.get("/page", headers={"host": host}).status_code == 403


@pytest.mark.parametrize("host", ["localhost:8420", "127.0.0.1:8420", "[::1]:8420"])
def test_loopback_is_reached_by_its_own_names(local, host):
    assert local.get("/page", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_posts_from_other_sites_are_refused(local, headers):
    assert local.post("/page", headers=headers).status_code == 403


def test_posts_from_the_own_page_pass(local):
    headers = {"origin": "http://127.0.0.1:8420", "sec-fetch-site": "same-origin"}
    assert local.post("/page", content=b"12", headers=headers).text == "2"


def test_websockets_are_refused(local):
    with pytest.raises((WebSocketDisconnect, WebSocketDenialResponse)), local.websocket_connect("/page"):
        pass


def test_an_upgrade_to_a_websocket_is_refused(local):
    headers = {"upgrade": "websocket", "connection": "Upgrade", "origin": "http://evil.example"}
    assert local.get("/page", headers=headers).status_code == 403


def test_without_token_nothing_is_answered(remote):
    _, visitor = remote
    assert visitor.get("/page").status_code == 401
    assert visitor.post("/page").status_code == 401


@pytest.mark.parametrize("token", ["", "wrong", "é", "wrong%ff"])
def test_a_wrong_token_is_refused(remote, token):
    _, visitor = remote
    assert visitor.get(f"/page?token={token}").status_code == 401


def test_the_link_starts_a_session_and_leaves_the_address(remote):
    access, visitor = remote
    answer = visitor.get(f"/page?a=1&token={access.token}", follow_redirects=False)
    assert answer.headers["location"] == "/page?a=1"
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert visitor.get("/page").status_code == 200


def test_the_link_leads_to_no_other_site(remote):
    access, visitor = remote
    answer = visitor.get(f"http://192.0.2.7:8420//evil.example?token={access.token}", follow_redirects=False)
    assert answer.headers["location"] == "/evil.example"


def test_a_session_expires(remote, monkeypatch):
    access, visitor = remote
    visitor.get(f"/page?token={access.token}")
    now = access_module.time.monotonic()
    monkeypatch.setattr(access_module.time, "monotonic", lambda: now + access_module.SESSION_SECONDS + 1)
    assert visitor.get("/page").status_code == 401


def test_a_session_of_another_run_is_refused(remote):
    access, visitor = remote
    visitor.get(f"/page?token={access.token}")
    access.sessions.clear()
    assert visitor.get("/page").status_code == 401


def test_a_declared_upload_of_5_gb_is_refused_unread(local):
    headers = {"content-length": str(5 * 10**9)}
    assert local.post("/page", content=b"x", headers=headers).status_code == 413


def test_an_upload_without_length_ends_at_the_limit():
    small = client_of(Access(max_bytes=1000), "http://localhost")
    assert small.post("/page", content=iter([b"x" * 400, b"x" * 400])).text == "800"
    with pytest.raises(Exception, match=r"^$"):  # ClientDisconnect, which a page answers with 413
        small.post("/page", content=iter([b"x" * 800, b"x" * 800]))


def test_every_answer_forbids_loading_from_elsewhere(local):
    for answer in (local.get("/page"), local.get("/page", headers={"host": "evil.example"})):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "media-src 'self'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-frame-options"] == "DENY"
