"""The web page in Chromium: opened and checked; and the server as a process."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

expect.set_options(timeout=60_000)  # a starting Chromium may have to share one core with other tests


@contextmanager
def opened(browser: Browser, url: str, *, at: str = "", may_fail: bool = False, **options) -> Iterator[Page]:
    """Open the page; check that it has no errors, and requests nothing from elsewhere."""
    context = browser.new_context(permissions=["microphone"], accept_downloads=True, **options)
    page = context.new_page()
    errors: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(url + at)
    expect(page.locator("html")).to_have_attribute("data-ready", "true")
    try:
        yield page
        if not may_fail:
            assert errors == []
        assert [each for each in requests if not each.startswith((url, f"blob:{url}"))] == []
    finally:
        context.close()


def check_accessibility(page: Page) -> None:
    found = Axe().run(page).response["violations"]
    assert [
        (each["id"], each["nodes"][0]["target"]) for each in found if each["impact"] in ("serious", "critical")
    ] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@contextmanager
def server_process(port: int, *options: object, command: str = "serve") -> Iterator[subprocess.Popen]:
    """Run the server as a process; give it when it answers."""
    words = [sys.executable, "-m", "soundmark.cli", command, *map(str, options), "--port", str(port), "--jobs", "1"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline().startswith(f"Page: http://127.0.0.1:{port}/")
        until = time.monotonic() + 30
        while time.monotonic() < until:
            with socket.socket() as probe:
                if not probe.connect_ex(("127.0.0.1", port)):
                    break
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.communicate()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]
