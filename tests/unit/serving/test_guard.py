"""Host, origin, token and security headers."""

import json

import pytest
import requests
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from soundmark.serving.http.guard import COOKIE, check_host, session_of
from soundmark.serving.http.problems import Problem
from soundmark.serving.settings import ServerSettings
from support.serving import running
from unit.serving.test_classify_api import problem

TOKEN = "x" * 20


@pytest.fixture(scope="module")
def closed(detector):
    with running(detector, token=TOKEN) as found:
        yield found


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "", "[", "10.0.0.1"])
def test_another_host_name_is_refused(server, host):
    assert "this server is not reached as" in problem(server.get("/v1/model", headers={"Host": host}), 421)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1", "[::1]:80", "LOCALHOST", "localhost."])
def test_this_machine_is_accepted_under_each_of_its_names(server, host):
    assert server.get("/healthz", headers={"Host": host}).status_code == 200


def test_a_public_server_is_reached_by_any_address_and_by_given_names():
    settings = ServerSettings(host="192.168.1.2", token=TOKEN, allowed_hosts=("Sounds.example",))
    for host in ("192.168.1.7:8765", "[fe80::1]:8765", "sounds.example", "SOUNDS.example", "localhost:8765"):
        check_host(host, settings)
    with pytest.raises(Problem, match="evil.example"):
        check_host("evil.example", settings)


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1", "http://localhost.evil.example"]
)
def test_a_page_of_another_origin_cannot_send(server, sound, origin):
    response = server.post("/v1/classify", sound, headers={"Origin": origin})
    assert "may not use this server" in problem(response, 403)
    assert "Access-Control-Allow-Origin" not in response.headers


def test_the_own_page_can_send(server, sound):
    assert server.post("/v1/classify", sound, headers={"Origin": server.url}).status_code == 200


def test_every_response_has_the_security_headers(server):
    for path in ("/", "/page/main.js", "/v1/model", "/nothing"):
        headers = server.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["X-Frame-Options"] == "DENY"
        assert "Access-Control-Allow-Origin" not in headers
        assert "server" not in headers


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}, {"Cookie": "soundmark_session=" + TOKEN}],
)
@pytest.mark.parametrize("path", ["/v1/model", "/metrics", "/v1/openapi.json", "/v1/classify"])
def test_without_the_token_nothing_is_told(closed, path, headers):
    response = closed.post(path, headers=headers) if path == "/v1/classify" else closed.get(path, headers=headers)
    assert "needs its token" in problem(response, 401)
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


def test_the_page_and_health_are_open(closed):
    for path in ("/", "/page/style.css", "/healthz", "/readyz"):
        assert closed.get(path).status_code == 200
    for path in ("/page/../v1/model", "/page/%2e%2e/v1/model", "/page/..%2f..%2fsettings.py"):
        assert requests.get(closed.url + path, timeout=10).status_code in (401, 404)


def test_two_servers_on_one_host_do_not_share_a_session(closed, detector):
    """A browser sends the cookies of a host to all its ports."""
    other = "y" * 20
    session = requests.Session()
    with running(detector, token=other) as second:
        for server, token in ((closed, TOKEN), (second, other)):
            session.post(f"{server.url}/v1/session", headers={"Authorization": f"Bearer {token}"}, timeout=10)
        assert len({cookie.name for cookie in session.cookies}) == 2
        for server in (closed, second):
            assert session.get(f"{server.url}/v1/model", timeout=10).status_code == 200


def test_the_token_is_accepted_as_header_and_as_cookie(closed, sound):
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert closed.get("/v1/model", headers=headers).status_code == 200
    session = requests.Session()
    answer = session.post(closed.url + "/v1/session", headers=headers, timeout=10)
    assert answer.status_code == 204
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert TOKEN not in cookie
    assert session.post(closed.url + "/v1/classify", data=sound, timeout=30).status_code == 200
    assert (
        session.post(
            closed.url + "/v1/classify", data=sound, headers={"Origin": "https://evil.example"}, timeout=30
        ).status_code
        == 403
    )


def test_cookies_of_other_programs_on_this_machine_do_not_hide_the_session(closed):
    """A browser sends the cookies of all ports of a host."""
    port = closed.url.rpartition(":")[2]
    cookie = f'options[a]={{"b": 1}}; {COOKIE}_{port}={session_of(TOKEN)}'
    assert closed.get("/v1/model", headers={"Cookie": cookie}).status_code == 200


def test_a_web_socket_needs_the_token(closed):
    url = f"{closed.url.replace('http', 'ws')}/v1/listen"
    with pytest.raises(InvalidStatus) as refused:
        connect(url)
    assert refused.value.response.status_code == 401
    assert "needs its token" in json.loads(refused.value.response.body)["detail"]
    with connect(url, additional_headers={"Authorization": f"Bearer {TOKEN}"}) as socket:
        assert json.loads(socket.recv())["kind"] == "opened"
