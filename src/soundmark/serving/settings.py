"""Settings of the server: address, token, encryption and limits. All their defaults are defined here."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

from soundmark.errors import SettingsError

LEAST_TOKEN_CHARS = 16


THRESHOLDS = "thresholds.toml"  # in the folder of the corrections


LIMITS = {
    "max_upload_bytes": "--max-upload",
    "max_audio_s": "--max-audio",
    "max_request_s": "--max-request",
    "max_requests": "--max-requests",
    "max_live": "--max-live",
    "max_corrections_bytes": "--max-corrections",
    "shutdown_s": "shutdown_s",
}
"""The limits, and their options."""


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """Where the server listens, who may use it, and how much a request may take.

    Raises:
        SettingsError: a value is out of range, or an address other than this machine's has no token.

    >>> ServerSettings(host="0.0.0.0")
    Traceback (most recent call last):
    soundmark.errors.SettingsError: --host 0.0.0.0 can be reached from other machines: add --token, a secret of at ...
    """

    host: str = "127.0.0.1"
    port: int = 8765
    token: str | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    allowed_hosts: tuple[str, ...] = ()  # names by which the server is reached, besides its addresses
    max_upload_bytes: int = 1_000_000_000
    max_audio_s: float = 12 * 3600.0  # duration of a decoded upload
    max_request_s: float = 900.0  # from the first byte to the last one
    max_requests: int = 64  # uploads at once
    max_live: int = 64  # open WebSockets
    corrections: Path | None = None  # folder that decisions and clips are kept in; None: nothing is kept
    max_corrections_bytes: int = 2_000_000_000  # of clips
    no_speech: bool = False  # whether clips with speech are discarded
    thresholds: Path | None = None  # file; None: in the folder of the corrections, if there is one
    shutdown_s: int = 30  # time to finish requests when the server is stopped

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise SettingsError(f"--port is {self.port}: expected a number from 0 (any free port) to 65535.")
        if self.token is not None and len(self.token) < LEAST_TOKEN_CHARS:
            raise SettingsError(
                f"--token has {len(self.token)} characters: expected a secret of at least {LEAST_TOKEN_CHARS}, for "
                "example the output of: openssl rand -hex 16."
            )
        if self.token is not None and not re.fullmatch(r"[!-~]+", self.token):
            raise SettingsError(
                "--token contains a space, a line end or a character that is not ASCII, which clients cannot send in a "
                "header: use letters and digits, for example the output of: openssl rand -hex 16."
            )
        if self.token is None and not self.is_local:
            raise SettingsError(
                f"--host {self.host} can be reached from other machines: add --token, a secret of at least "
                f"{LEAST_TOKEN_CHARS} characters that every client must send."
            )
        for name, option in LIMITS.items():
            if not getattr(self, name) > 0:
                raise SettingsError(f"{option} is {getattr(self, name):g}: expected more than 0.")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise SettingsError("--tls-cert and --tls-key belong together: give both files, or neither.")

    @property
    def is_local(self) -> bool:
        """Whether only programs on this machine can connect."""
        return is_loopback(self.host)

    @property
    def thresholds_file(self) -> Path | None:
        """The file of thresholds, which need not exist; None: there is none."""
        if self.thresholds is None and self.corrections is not None:
            return self.corrections / THRESHOLDS
        return self.thresholds

    @property
    def scheme(self) -> str:
        """The scheme of the server's address: "http" or "https"."""
        return "https" if self.tls_cert else "http"

    def check_tls(self) -> None:
        """Check that the certificate and its key can be used.

        Raises:
            SettingsError: they cannot.
        """
        import ssl  # on use: the command line reads its defaults from this file

        if self.tls_cert is None:
            return
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.tls_cert, self.tls_key)
        except OSError as error:  # ssl.SSLError is one
            reason = error.strerror if error.filename or not isinstance(error, ssl.SSLError) else error.reason
            raise SettingsError(
                f'the certificate "{self.tls_cert}" with the key "{self.tls_key}" cannot be used: {reason}. Give two '
                "files in PEM format that belong together."
            ) from error


def is_loopback(host: str) -> bool:
    """Return whether ``host`` is this machine only.

    >>> is_loopback("localhost"), is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
