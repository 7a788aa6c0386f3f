"""A real headless Chromium for the tests: open a page, say what went wrong in it, what it asked for, what it shows."""

import json
import shutil
import subprocess
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--mute-audio",
    "--enable-logging=stderr",
]  # nothing but the page under test is loaded

# Stands before anything else of the page, so that it hears of every error.
LISTEN = """<script>
window.found = {errors: [], violations: []};
addEventListener("error", e => found.errors.push(e.message || `${e.target.tagName} could not be loaded`), true);
addEventListener("unhandledrejection", e => found.errors.push(String(e.reason)));
addEventListener("securitypolicyviolation", e => found.violations.push(`${e.violatedDirective}: ${e.blockedURI}`));
for (const level of ["error", "warn"]) console[level] = (...words) => found.errors.push(words.join(" "));
</script>"""

# Stands after everything else: waits until images and sounds are there, then sends what was found to the test.
REPORT = """<script>
const loaded = sound => new Promise(done => {
  if (sound.error || sound.readyState >= 1) return done();
  for (const name of ["loadedmetadata", "error"]) sound.addEventListener(name, done, {once: true});
  sound.preload = "auto";
  sound.load();
});
addEventListener("load", async () => {
  found.images = [...document.images].map(one => [one.alt, one.naturalWidth]);
  found.sounds = [];
  for (const one of document.querySelectorAll("audio")) {
    await loaded(one);
    found.sounds.push({error: one.error && one.error.message, seconds: one.duration});
  }
  found.requests = performance.getEntriesByType("resource").map(one => one.name.slice(0, 60));
  found.width = innerWidth;
  found.scroll_width = document.documentElement.scrollWidth;
  found.text = document.body.innerText;
  await fetch("/found", {method: "POST", body: JSON.stringify(found)});
});
</script>"""


def find_chromium() -> str:
    """The path of a Chromium; the test is skipped where there is none."""
    path = next((path for name in NAMES if (path := shutil.which(name))), None)
    if path is None:
        pytest.skip(f"no browser is installed: looked for {', '.join(NAMES)}")
    return path


def examine(page: str, *, width: int = 1280, height: int = 900, timeout_s: float = 90) -> dict:
    """Open a page in Chromium and return what was found there.

    ``errors`` (scripts, console, things that could not be loaded), ``violations`` of the page's own content policy,
    ``requests`` (addresses that the page asked for), ``served`` (paths that this test's server was asked for),
    ``images`` [alt, natural width], ``sounds`` {error, seconds}, ``width`` and ``scroll_width`` in pixels, ``text``.
    """
    chromium = find_chromium()
    watched = _watched(page).encode()
    served: list[str] = []
    found: dict = {}
    is_done = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            served.append(self.path)
            self.send_response(200 if self.path == "/" else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(watched if self.path == "/" else b"")

        def do_POST(self):
            found.update(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()
            is_done.set()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server, tempfile.TemporaryDirectory() as profile:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        log = Path(profile) / "stderr.txt"
        command = [chromium, *QUIET, f"--user-data-dir={profile}/profile", f"--window-size={width},{height}"]
        # A debugging port keeps a headless Chromium open after the page has loaded.
        command += ["--remote-debugging-port=0", f"http://127.0.0.1:{server.server_port}/"]
        with log.open("wb") as stderr, subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stderr) as process:
            try:
                is_in_time = is_done.wait(timeout_s)
            finally:
                process.terminate()
        server.shutdown()
        thread.join()
        messages = log.read_text(errors="replace")
    if not is_in_time:
        pytest.fail(f"the page said nothing within {timeout_s} s. Chromium's last words: {messages[-2000:]}")
    console = [line for line in messages.splitlines() if "CONSOLE" in line]
    return {**found, "served": served, "errors": [*found["errors"], *console]}


def _watched(page: str) -> str:
    """The page with the two scripts, which its content policy, where it has one, is made to allow."""
    page = page.replace("default-src 'none';", "default-src 'none'; script-src 'unsafe-inline'; connect-src 'self';", 1)
    head = page.index("<meta charset")
    end = page.rindex("</body>")
    return page[:head] + LISTEN + page[head:end] + REPORT + page[end:]
