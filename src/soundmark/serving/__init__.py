"""Serve a model: a web page for people, an HTTP API and a WebSocket for programs.

    upload ─ http ─▶ bytes or a file ─ analysis ─▶ updates ─ routes/classify ─▶ JSON lines, CSV, …
    WebSocket ─ routes/live ─▶ live_session ─▶ messages

The inference is that of ``classify`` and ``listen``: ``detection.file_analysis`` and ``detection.live.monitor``. Files
from outside are decoded in worker processes with limits. In reading order:

    settings           address, token, limits, and their defaults
    http               errors, checks, limits, parameters and bodies of requests
    spectrogram_tiles  samples → spectrogram as the model computes it, in tiles of 8-bit levels
    rejections         windows in which a class was likely, and why they are not detections
    updates            results while they are computed, as JSON values
    results_json       results that a client sends → FileResult
    archives           indexes whose windows are reviewed: sound and spectrogram of a window
    thresholds         the thresholds of the server: its file, and the model with them
    reviews            reviews of the classes of archives: state, decisions, the threshold
    analysis           an upload → updates or an answer, in threads and worker processes
    teach              corrections and retraining
    live_session       PCM of a WebSocket → messages
    routes             paths of the API, one file per tab of the page
    server             the application, and its start and end

``page`` contains the web page: HTML, CSS and ES modules, without a build step.
"""
