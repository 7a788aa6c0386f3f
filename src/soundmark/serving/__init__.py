"""Serve a model: a web page for people, an HTTP API and a WebSocket for programs.

    upload ─ uploads ─▶ temporary file ─ analyzer ─▶ updates ─ routes/classify ─▶ JSON lines, CSV, …
    WebSocket ─ routes/live ─▶ live_session ─▶ messages

The inference is that of ``classify`` and ``listen``: ``detection.file_analysis`` and ``detection.live.monitor``. Files
from outside are decoded in worker processes with limits. In reading order:

    settings           address, token, limits, and their defaults
    problems           errors as application/problem+json
    guard              checks of every request: host, origin, token; security headers
    gate               the number of requests at once
    counters           metrics for Prometheus
    query              the parameters of a request
    uploads            the body of a request as a temporary file
    spectrogram_tiles  samples → spectrogram as the model computes it, in tiles of 8-bit levels
    rejections         windows in which a class was likely, and why they are not detections
    updates            results while they are computed, as JSON values
    analyzer           an upload → updates, in threads and worker processes
    live_session       PCM of a WebSocket → messages
    routes             paths of the API, one file per tab of the page
    server             the application, and its start and end

``page`` contains the web page: HTML, CSS and ES modules, without a build step.
"""
