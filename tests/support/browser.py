"""Open a page in headless Chromium; return its errors, the files that it loads, its layout and its text."""

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
]  # no requests except those of the page under test

# The first script of the page, so that it records all errors.
RECORD_ERRORS = """<script>
window.found = {errors: [], violations: []};
addEventListener("error", e => found.errors.push(e.message || `${e.target.tagName} could not be loaded`), true);
addEventListener("unhandledrejection", e => found.errors.push(String(e.reason)));
addEventListener("securitypolicyviolation", e => found.violations.push(`${e.violatedDirective}: ${e.blockedURI}`));
for (const level of ["error", "warn"]) console[level] = (...words) => found.errors.push(words.join(" "));
</script>"""

# The last script of the page: waits until images and sounds are loaded, then sends the results to the test.
SEND_RESULTS = r"""<script>
const loaded = sound => new Promise(done => {
  if (sound.error || sound.readyState >= 1) return done();
  for (const name of ["loadedmetadata", "error"]) sound.addEventListener(name, done, {once: true});
  sound.preload = "auto";
  sound.load();
});
// Words in the text of the page that are split over several lines, by a break within letters, digits and "_".
const brokenWords = () => {
  const broken = [], texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const node = texts.currentNode;
    if (node.parentElement.closest("script, style, svg")) continue;
    for (const word of node.data.matchAll(/[\p{L}\p{N}_]+/gu)) {
      const range = document.createRange();
      range.setStart(node, word.index);
      range.setEnd(node, word.index + word[0].length);
      if (range.getClientRects().length > 1) broken.push(word[0]);
    }
  }
  return broken;
};
// Elements whose content is wider than they are and cannot be scrolled.
const cutOff = () => [...document.querySelectorAll("body *")]
  .filter(one => one.scrollWidth > one.clientWidth + 1 && ["hidden", "clip"].includes(getComputedStyle(one).overflowX))
  .map(one => one.textContent.slice(0, 60));
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
  found.broken_words = brokenWords();
  found.cut_off = cutOff();
  found.text = document.body.innerText;
  await fetch("/found", {method: "POST", body: JSON.stringify(found)});
});
</script>"""


LEAST_WIDTH = 500  # of a window of Chromium, in pixels

FRAME = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><style>body {{ margin: 0 }}</style>
<iframe src="/" width="{width}" height="{height}" style="border: 0"></iframe>"""


def find_chromium() -> str:
    """Return the path of Chromium; skip the test if it is not installed."""
    path = next((path for name in NAMES if (path := shutil.which(name))), None)
    if path is None:
        pytest.skip(f"no browser is installed: looked for {', '.join(NAMES)}")
    return path


def examine(page: str, *, width: int = 1280, height: int = 900, timeout_s: float = 90) -> dict:
    """Open a page in Chromium and return a dict of results.

    ``errors`` (scripts, console, files that could not be loaded), ``violations`` of the page's content security policy,
    ``requests`` (URLs that the page requested), ``served`` (paths that were requested from the test's server),
    ``images`` [alt, natural width], ``sounds`` {error, seconds}, ``width`` and ``scroll_width`` in pixels,
    ``broken_words`` (words split over two lines), ``cut_off`` (text of elements that hide a part of their content),
    ``text``.

    A window of Chromium has at least ``LEAST_WIDTH`` pixels; for a smaller ``width``, the page is shown in a frame.
    """
    chromium = find_chromium()
    pages = {"/": _with_scripts(page).encode(), "/frame": FRAME.format(width=width, height=height).encode()}
    start = "/" if width >= LEAST_WIDTH else "/frame"
    served: list[str] = []
    found: dict = {}
    is_done = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path != "/frame":
                served.append(self.path)
            self.send_response(200 if self.path in pages else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(pages.get(self.path, b""))

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
        # With a debugging port, headless Chromium remains open after the page has loaded.
        command += ["--remote-debugging-port=0", f"http://127.0.0.1:{server.server_port}{start}"]
        with log.open("wb") as stderr, subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stderr) as process:
            try:
                is_in_time = is_done.wait(timeout_s)
            finally:
                process.terminate()
        server.shutdown()
        thread.join()
        messages = log.read_text(errors="replace")
    if not is_in_time:
        pytest.fail(f"the page sent no results within {timeout_s} s. Log of Chromium: {messages[-2000:]}")
    console = [line for line in messages.splitlines() if "CONSOLE" in line]
    return {**found, "served": served, "errors": [*found["errors"], *console]}


def _with_scripts(page: str) -> str:
    """Insert the two scripts into the page, and allow them in its content security policy, if any."""
    page = page.replace("default-src 'none';", "default-src 'none'; script-src 'unsafe-inline'; connect-src 'self';", 1)
    head = page.index("<meta charset")
    end = page.rindex("</body>")
    return page[:head] + RECORD_ERRORS + page[head:end] + SEND_RESULTS + page[end:]
