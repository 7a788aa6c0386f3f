"""``soundmark serve``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from soundmark.cli import help_page, options, requirements, shell
from soundmark.cli.app import app, open_dataset
from soundmark.detection.settings import DEFAULT_MODEL
from soundmark.errors import SettingsError
from soundmark.serving.settings import ServerSettings

if TYPE_CHECKING:
    from soundmark.datasets import Dataset
    from soundmark.models.classifier import Model
    from soundmark.serving.archives import Archive


CORRECTIONS = Path("corrections")  # of the archives that are served


def _bound(name: str, metavar: str, help: str, *, whole: bool = False) -> Any:
    """An option that limits what requests may take."""
    parser: Any = options.positive_integer if whole else options.finite
    return typer.Option(name, metavar=metavar, help=help, parser=parser, rich_help_panel="Limits")


def _network(name: str, metavar: str, help: str, **others: Any) -> Any:
    """An option on how the server is reached."""
    return typer.Option(name, metavar=metavar, help=help, rich_help_panel="Network", **others)


@app.command(
    epilog=help_page.page_end(
        [
            "soundmark serve",
            "soundmark serve -m model.onnx --open",
            "soundmark serve index --open",
            "soundmark serve results -m model.onnx --open",
            "soundmark serve index --corrections corrections --train-data sounds",
            "soundmark serve --host 0.0.0.0 --token SECRET --tls-cert A.pem --tls-key B.pem",
        ]
    )
)
def serve(
    archive: options.Archives = None,
    model: options.ServedModel = None,
    classes: options.Classes = None,
    host: Annotated[
        str, _network("--host", "ADDRESS", "Address to listen at; all but addresses of this machine need --token.")
    ] = ServerSettings.host,
    port: options.Port = ServerSettings.port,
    token: Annotated[
        str | None,
        _network(
            "--token",
            "SECRET",
            "Secret that every client must send, of at least 16 characters.",
            envvar="SOUNDMARK_TOKEN",
            show_default=False,
        ),
    ] = ServerSettings.token,
    tls_cert: Annotated[
        Path | None,
        _network("--tls-cert", "FILE", "Certificate, for HTTPS (PEM).", show_default=False, parser=options.path),
    ] = ServerSettings.tls_cert,
    tls_key: Annotated[
        Path | None,
        _network("--tls-key", "FILE", "Key of the certificate (PEM).", show_default=False, parser=options.path),
    ] = ServerSettings.tls_key,
    allow_host: Annotated[
        list[str] | None,
        _network(
            "--allow-host", "NAME", "Name by which the server is reached, such as that of a proxy.", show_default=False
        ),
    ] = None,
    max_upload: Annotated[float, _bound("--max-upload", "MB", "Largest upload.")] = ServerSettings.max_upload_bytes
    / 1e6,
    max_audio: Annotated[
        float, _bound("--max-audio", "HOURS", "Longest recording, decoded.")
    ] = ServerSettings.max_audio_s / 3600,
    max_request: Annotated[
        float, _bound("--max-request", "SECONDS", "Longest request.")
    ] = ServerSettings.max_request_s,
    max_requests: Annotated[
        int, _bound("--max-requests", "N", "Uploads at once.", whole=True)
    ] = ServerSettings.max_requests,
    max_live: Annotated[int, _bound("--max-live", "N", "Live sessions at once.", whole=True)] = ServerSettings.max_live,
    corrections: options.CorrectionsFolder = None,
    max_corrections: options.MaxCorrections = ServerSettings.max_corrections_bytes / 1e6,
    train_data: options.TrainData = None,
    no_speech: options.NoSpeech = ServerSettings.no_speech,
    thresholds: options.Thresholds = None,
    open_page: Annotated[
        bool, typer.Option("--open", help="Open the page in the browser.", rich_help_panel="General")
    ] = False,
    jobs: options.Jobs = None,
) -> None:
    """Serve a model: web page, HTTP API and WebSocket.

    Without -m, the model of the index is served, or without an index a pretrained model with AudioSet's 527 classes.
    The recordings of a results folder are indexed first, in the cache.
    The page needs no installation on the machine with the browser. Stop with Ctrl-C; running requests are completed.
    """
    requirements.require("serve", requirements.EXTRAS["serve"])
    settings = ServerSettings(
        host=host,
        port=port,
        token=token,
        tls_cert=tls_cert,
        tls_key=tls_key,
        allowed_hosts=tuple(allow_host or ()),
        max_upload_bytes=round(max_upload * 1e6),
        max_audio_s=max_audio * 3600,
        max_request_s=max_request,
        max_requests=max_requests,
        max_live=max_live,
        corrections=corrections or (CORRECTIONS if archive else None),
        max_corrections_bytes=round(max_corrections * 1e6),
        no_speech=no_speech,
        thresholds=thresholds,
    )
    if train_data is not None and settings.corrections is None:
        raise SettingsError("--train-data is used to retrain the model on corrections: add --corrections DIR.")
    loaded, name, archives = open_served(archive or [], model, classes=classes, jobs=jobs)
    serve_and_say(
        loaded,
        settings,
        name=name,
        jobs=jobs,
        archives=archives,
        training=None if train_data is None else open_dataset(train_data, None),
        open_page=open_page,
    )


def open_served(
    folders: Sequence[Path], model: str | None, *, classes: str | None = None, jobs: int | None = None
) -> tuple[Model, str, Sequence[Archive]]:
    """Return the model to serve (given, that of the indexes, or the default), its name, and the archives."""
    from soundmark.cli import console, tables
    from soundmark.models.pretrained import named_models
    from soundmark.serving.archives import open_archives

    console.show_library_warnings()
    if folders and classes is not None:
        raise SettingsError("an index has the scores of all classes of its model: leave out --classes.")
    if folders and model is None:
        archives = open_archives(folders)
        loaded, name = archives[0].index.model, f"{archives[0].name}/model.onnx"
    else:
        loaded, name = named_models.load(model or DEFAULT_MODEL, classes=classes), Path(model or DEFAULT_MODEL).name
        archives = open_archives(folders, loaded, jobs=jobs)
    for folder, archive in zip(folders, archives, strict=True):
        if archive.index.folder != folder:
            tables.show_results_index(folder, archive.index)
    shell.not_resumable()
    return loaded, name, archives


def serve_and_say(
    model: Model,
    settings: ServerSettings,
    *,
    name: str,
    jobs: int | None = None,
    archives: Sequence[Archive] = (),
    training: Dataset | None = None,
    open_page: bool = False,
    tab: str = "",
) -> None:
    """Serve ``model`` until Ctrl-C, and print the address of the page, at a ``tab``, on standard output."""
    import webbrowser

    from soundmark.cli import console
    from soundmark.serving import server

    def started(address: str) -> None:
        address += f"#{tab}" if tab else ""
        console.print_result(f"Page: {address}")
        if archives and settings.corrections:
            console.say(f"Reviews are kept in {settings.corrections}.")
        console.say("Stop with Ctrl-C.")
        if open_page:
            webbrowser.open(address)

    server.serve(
        model,
        settings,
        name=name,
        jobs=jobs,
        archives=archives,
        training=training,
        on_started=started,
    )
