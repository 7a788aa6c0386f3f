"""Models on the Hugging Face Hub: ``hf://user/name``, loaded and pushed with the package huggingface_hub.

A downloaded file is bounded in size, its SHA-256 is compared with the Hub's, and it passes the checks of any model
file. The package huggingface_hub keeps it in its own cache, and finds the token: in ``HF_TOKEN``, or where
``hf auth login`` stored it. ``HF_ENDPOINT`` is the address of another server with the Hub's HTTP interface.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from typing import Any

from soundmark.errors import BundleError, OutputError, SettingsError, SoundmarkError
from soundmark.models.bundle import Bundle
from soundmark.models.card_text import to_markdown
from soundmark.runtime.checksums import file_checksum
from soundmark.runtime.text import counted, one_line

log = logging.getLogger("soundmark")

PREFIX = "hf://"


FILE = "model.onnx"


MAX_BYTES = 1 << 30  # of a model file


NAME = r"[A-Za-z0-9][\w.-]{0,95}"


ADDRESS = re.compile(rf"hf://({NAME}/{NAME})(?:@([^/@\s]+))?(?:/([\w./-]+\.onnx))?")


SHA256 = re.compile("[0-9a-f]{64}")


# The package huggingface_hub makes file names of these two answers of the server.
ETAG, COMMIT = re.compile(r"[\w.+=-]{1,128}"), re.compile("[0-9a-fA-F]{7,64}")


LOG_IN = "Log in with `hf auth login`, or set HF_TOKEN."


@dataclass(frozen=True, kw_only=True)
class Address:
    """A model on the Hub: its repository, revision (None: the newest) and file."""

    repository: str
    revision: str | None = None
    file: str = FILE

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"{PREFIX}{self.repository}{revision}{'' if self.file == FILE else f'/{self.file}'}"


def is_address(name: str) -> bool:
    """Return whether the name of a model is that of one on the Hub.

    >>> is_address("hf://user/name"), is_address("user/name")
    (True, False)
    """
    return name.startswith(PREFIX)


def parse(text: str) -> Address:
    """Parse "hf://user/name", with an optional revision and file: "hf://user/name@v1/small.onnx".

    Raises:
        SettingsError: it is not such an address.

    >>> parse("hf://user/birds@v1")
    Address(repository='user/birds', revision='v1', file='model.onnx')
    >>> parse("hf://birds")
    Traceback (most recent call last):
    soundmark.errors.SettingsError: the model "hf://birds" is not an address on the Hugging Face Hub: expected ...
    """
    found = ADDRESS.fullmatch(text)
    if not found or ".." in text:
        raise SettingsError(
            f'the model "{one_line(text, 100)}" is not an address on the Hugging Face Hub: expected hf://USER/NAME, '
            "with an optional revision and file, such as hf://user/birds@v1/small.onnx."
        )
    return Address(repository=found[1], revision=found[2], file=found[3] or FILE)


def local_name(name: str) -> Path:
    """Return the path that files made from a model are written beside; for one on the Hub, in the current folder.

    >>> local_name("run/model.onnx").name, local_name("hf://user/birds").name
    ('model.onnx', 'birds.onnx')
    """
    return Path(f"{parse(name).repository.rpartition('/')[2]}.onnx") if is_address(name) else Path(name)


def download(address: Address) -> Path:
    """Return the file of a model on the Hub, from the cache of huggingface_hub or downloaded and verified.

    Without a connection, a file in the cache is used.

    Raises:
        BundleError: there is no such model, it needs a login, is too large, or cannot be downloaded.
        SettingsError: the package huggingface_hub is not installed.

    >>> download(parse("hf://user/birds"))  # doctest: +SKIP
    PosixPath('.../models--user--birds/snapshots/.../model.onnx')
    """
    _check_package()
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import HTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    where = {"repo_id": address.repository, "filename": address.file, "revision": address.revision}
    with _errors(f'the model "{address}" cannot be loaded', BundleError):
        try:
            found = get_hf_file_metadata(hf_hub_url(**where), token=None)
        except (OfflineModeIsEnabled, HTTPError) as error:
            if _status(error) is not None:
                raise
            log.debug("%s: no connection to the Hub; looking in the cache", address)
            try:
                return Path(hf_hub_download(**where, local_files_only=True))
            except LocalEntryNotFoundError:
                raise error from None
        if found.size is not None and found.size > MAX_BYTES:
            raise BundleError(
                f'the model "{address}" has {found.size:,} bytes; the largest model that is downloaded has '
                f"{MAX_BYTES:,}."
            )
        if not ETAG.fullmatch(found.etag or "") or not COMMIT.fullmatch(found.commit_hash or ""):
            raise BundleError(
                f'the model "{address}" cannot be loaded: the server does not answer as the Hugging Face Hub does. '
                "Check HF_ENDPOINT."
            )
        path = Path(hf_hub_download(**where, **_limit(address, found.size)))
    if found.etag and SHA256.fullmatch(found.etag) and file_checksum(path) != found.etag:
        raise BundleError(
            f'the download of "{address}" is damaged: its SHA-256 is not that of the Hub. Delete "{path}", and try '
            "again."
        )
    return path


def _limit(address: Address, size: int | None) -> dict[str, Any]:
    """The arguments of ``hf_hub_download`` that end a download after ``size`` bytes, or ``MAX_BYTES`` if unknown.

    Its progress bar is the only part that is called during a download; early versions of the package cannot replace it.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils import tqdm

    most = min(size or MAX_BYTES, MAX_BYTES)

    class Limited(tqdm):
        received: float = 0

        def update(self, n: float | None = 1) -> bool | None:
            self.received += n or 0
            if self.received > most:
                raise BundleError(
                    f'the download of "{address}" is longer than its {most:,} bytes; it was stopped. Try again later.'
                )
            updated: bool | None = super().update(n)
            return updated

    return {"tqdm_class": Limited} if "tqdm_class" in signature(hf_hub_download).parameters else {}


def push(model: Bundle, repository: str, *, private: bool = False, message: str | None = None) -> str:
    """Upload a model with its card as ``README.md`` to the repository "user/name"; create it if necessary.

    Returns:
        The web address of the repository.

    Raises:
        SettingsError: the name is not one of a repository, or the package huggingface_hub is not installed.
        OutputError: there is no login, no permission, or no connection.

    >>> push(model.bundle, "birds")
    Traceback (most recent call last):
    soundmark.errors.SettingsError: the repository is "birds": expected USER/NAME, such as user/birds.
    """
    if not re.fullmatch(f"{NAME}/{NAME}", repository):
        raise SettingsError(f'the repository is "{one_line(repository, 100)}": expected USER/NAME, such as user/birds.')
    _check_package()
    from huggingface_hub import CommitOperationAdd, HfApi

    address = str(Address(repository=repository))
    files = {FILE: model.to_bytes(), "README.md": to_markdown(FILE, model.card, address=address).encode()}
    api = HfApi(library_name="soundmark")
    with _errors(f'the model cannot be pushed to "{repository}"', OutputError):
        url = api.create_repo(repository, private=private or None, exist_ok=True)
        api.create_commit(
            repository,
            [CommitOperationAdd(name, content) for name, content in files.items()],
            commit_message=message or f"soundmark: {counted(len(model.card.classes), 'class')}",
        )
    return str(url)


def _check_package() -> None:
    if find_spec("huggingface_hub") is None:
        raise SettingsError(
            "a model on the Hugging Face Hub needs the package huggingface_hub, which is not installed: pip install "
            '"soundmark[hub]".'
        )


@contextmanager
def _errors(what: str, kind: type[SoundmarkError]) -> Iterator[None]:
    """Raise the errors of huggingface_hub as ``kind``, in one sentence, without addresses and tokens."""
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise kind(f"{what}: its author grants access on request. Ask for it on its page. {LOG_IN}") from error
    except errors.RepositoryNotFoundError as error:
        raise kind(f"{what}: there is no such repository, or it is private. {LOG_IN}") from error
    except errors.RevisionNotFoundError as error:
        raise kind(f"{what}: the repository has no such revision. Omit it to load the newest model.") from error
    except errors.EntryNotFoundError as error:
        raise kind(f"{what}: the repository has no such file. Name one, such as hf://USER/NAME/other.onnx.") from error
    except errors.LocalTokenNotFoundError as error:
        raise kind(f"{what}: there is no token. {LOG_IN}") from error
    except errors.HFValidationError as error:
        raise SettingsError(f"{what}: {one_line(str(error), 200)}") from error
    except (errors.HTTPError, errors.OfflineModeIsEnabled, errors.FileMetadataError) as error:
        status = _status(error)
        if status in (401, 403):
            raise kind(f"{what}: the Hub answers {status}, no permission. {LOG_IN}") from error
        why = "the Hub cannot be reached" if status is None else f"the Hub answers {status}"
        raise kind(f"{what}: {why}. Check the connection and try again.") from error
    except (OSError, ValueError) as error:  # an answer that is not the Hub's, or a full disk
        why = getattr(error, "strerror", None) or "the answer of the Hub is incomplete or contradictory"
        raise kind(f"{what}: {why}. Try again later.") from error


def _status(error: Exception) -> int | None:
    """The HTTP status of an error; None if there was no answer."""
    response = getattr(error, "response", None)
    return None if response is None else int(response.status_code)
