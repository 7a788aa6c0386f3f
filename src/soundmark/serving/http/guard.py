"""Checks of every request before it is answered, and the security headers of every response.

- Host: a web page elsewhere can let its own name point to this machine (DNS rebinding), so names must be known.
- Origin: a browser sends cookies with requests that other pages start, so these are refused.
- Token: in the header ``Authorization: Bearer …``, or in the cookie that ``POST /v1/session`` sets.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from soundmark.runtime.text import shortened
from soundmark.serving.http.problems import Problem, denial_response, problem_response
from soundmark.serving.settings import ServerSettings, is_loopback

COOKIE = "soundmark_session"


SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


OPEN_PATHS = ("/", "/healthz", "/readyz")  # without a token: the page asks for it


OPEN_FOLDER = "/page/"


CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; "
    "connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
}


class Guard:
    """ASGI middleware that refuses requests which must not reach the application, and adds security headers."""

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self._app, self._settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        try:
            self._check(scope)
        except Problem as problem:
            await _refuse(problem, scope, receive, _with_headers(send))
            return
        await self._app(scope, receive, _with_headers(send))

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        check_host(headers.get("host", ""), self._settings)
        if scope["type"] == "websocket" or scope["method"] not in SAFE_METHODS:
            check_origin(headers)
        is_open = scope["path"] in OPEN_PATHS or scope["path"].startswith(OPEN_FOLDER)
        if self._settings.token is not None and not is_open:
            check_token(headers, self._settings.token, cookie=cookie_name(scope))


def check_host(host: str, settings: ServerSettings) -> None:
    """Check that the header ``Host`` is an address of the server or one of its names.

    Raises:
        Problem: it is not.

    >>> check_host("localhost:8765", ServerSettings())
    >>> check_host("evil.example", ServerSettings())
    Traceback (most recent call last):
    soundmark.serving.http.problems.Problem: this server is not reached as "evil.example": use its address, or ...
    """
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        name = ""
    if name in map(str.lower, (settings.host, *settings.allowed_hosts)) or is_loopback(name):
        return
    if not settings.is_local and _is_address(name):  # another name cannot be made to point to it
        return
    raise Problem(
        421,
        f'this server is not reached as "{shortened(host, 100)}": use its address, or start it with --allow-host NAME.',
    )


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def check_origin(headers: Headers) -> None:
    """Check that a request which changes something was not started by a page of another origin.

    Raises:
        Problem: it was.

    >>> check_origin(Headers({"host": "localhost:8765", "origin": "http://localhost:8765"}))
    >>> check_origin(Headers({"host": "localhost:8765", "origin": "https://evil.example"}))
    Traceback (most recent call last):
    soundmark.serving.http.problems.Problem: pages of the origin "https://evil.example" may not use this server.
    """
    origin = headers.get("origin")
    if origin is not None and origin.partition("://")[2].lower() != headers.get("host", "").lower():
        raise Problem(403, f'pages of the origin "{shortened(origin, 100)}" may not use this server.')


def cookie_name(scope: Scope) -> str:
    """Return the name of the session's cookie: browsers send the cookies of all ports of a host to each of them.

    >>> cookie_name({"server": ("127.0.0.1", 8765)})
    'soundmark_session_8765'
    """
    _, port = scope.get("server") or ("", None)
    return f"{COOKIE}_{port}" if port else COOKIE


def check_token(headers: Headers, token: str, *, cookie: str = COOKIE) -> None:
    """Check that a request has the token, as a header or as a cookie.

    Raises:
        Problem: it has not.

    >>> check_token(Headers({"authorization": "Bearer secret"}), "secret")
    >>> check_token(Headers({"cookie": f"{COOKIE}={session_of('secret')}"}), "secret")
    """
    kind, _, given = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode()):
        return
    session = cookie_parser(headers.get("cookie", "")).get(cookie, "")
    if hmac.compare_digest(session.encode(), session_of(token).encode()):
        return
    raise Problem(
        401,
        "this server needs its token: send the header Authorization: Bearer TOKEN.",
        {"WWW-Authenticate": 'Bearer realm="soundmark"'},
    )


def session_of(token: str) -> str:
    """Return the value of the cookie for a token, from which the token cannot be found.

    >>> len(session_of("secret"))
    64
    """
    return hashlib.sha256(b"soundmark session\0" + token.encode()).hexdigest()


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers[name] = value
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return send_with_headers


async def _refuse(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    about = (problem.status, problem.detail, problem.headers)
    if scope["type"] == "websocket":
        await receive()  # the request to connect
        await denial_response(*about)(scope, receive, send)
    else:
        await problem_response(*about)(scope, receive, send)
