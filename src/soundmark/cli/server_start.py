"""Start the server, and say where its page is: for ``serve`` and ``demo --serve``."""

from __future__ import annotations

import webbrowser

from soundmark.cli import console
from soundmark.models.classifier import Model
from soundmark.serving import server
from soundmark.serving.settings import ServerSettings


def serve_and_say(
    model: Model, settings: ServerSettings, *, name: str, jobs: int | None = None, open_page: bool = False
) -> None:
    """Serve ``model`` until Ctrl-C, and print the address of the page on standard output."""

    def started(address: str) -> None:
        console.print_result(f"Page: {address}")
        console.say("Stop with Ctrl-C.")
        if open_page:
            webbrowser.open(address)

    console.show_library_warnings()
    server.serve(model, settings, name=name, jobs=jobs, on_started=started)
