"""Local servers for Amazon S3 and Google Cloud Storage, with one bucket called "sensors"."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from http.server import ThreadingHTTPServer
from urllib.parse import quote

import pytest

from soundmark.audio.remote import store
from support.servers import serving

BUCKET = "sensors"


@contextmanager
def s3(contents: Mapping[str, bytes]) -> Iterator[None]:
    """Serve objects, by key, at ``s3://sensors/``."""
    from moto.server import ThreadedMotoServer

    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with _store_with(environment):
        import boto3

        client = boto3.client("s3")
        client.create_bucket(Bucket=BUCKET)
        for key, content in contents.items():
            client.put_object(Bucket=BUCKET, Key=key, Body=content)
        yield
    running.stop()


@contextmanager
def gs(contents: Mapping[str, bytes]) -> Iterator[None]:
    """Serve objects, by key, at ``gs://sensors/``. The server takes no key with ".." in it."""
    from gcp_storage_emulator.server import RequestHandler
    from gcp_storage_emulator.storage import Storage

    storage = Storage(use_memory_fs=True)
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), partial(RequestHandler, storage))) as address:
        _post(f"{address}/storage/v1/b", json.dumps({"name": BUCKET}).encode(), "application/json")
        for key, content in contents.items():
            name = quote(key, safe="")
            _post(f"{address}/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name={name}", content, "audio/flac")
        environment = {
            "STORAGE_EMULATOR_HOST": address,
            "FSSPEC_GS_TOKEN": "anon",
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # the kind of a bucket would be asked over gRPC
        }
        with _store_with(environment):
            yield


STORES: dict[str, Callable[[Mapping[str, bytes]], AbstractContextManager[None]]] = {"s3": s3, "gs": gs}


def _post(url: str, content: bytes, media_type: str) -> None:
    request = urllib.request.Request(url, content, {"Content-Type": media_type})  # noqa: S310 - a server of the tests
    urllib.request.urlopen(request).close()  # noqa: S310


@contextmanager
def _store_with(environment: Mapping[str, str]) -> Iterator[None]:
    """Let ``store`` use environment variables, those of fsspec too, which it reads when it is imported."""
    import fsspec.config

    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        options: dict[str, dict[str, object]] = {}
        fsspec.config.set_conf_env(options)
        for scheme, values in options.items():
            patch.setitem(fsspec.config.conf, scheme, values)
        store._files.cache_clear()
        yield
    store._files.cache_clear()
