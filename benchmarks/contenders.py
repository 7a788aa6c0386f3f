"""Run benchmark scripts, each in its own process and environment, and call their methods over pipes, as JSON lines.

The environments are created once, from the package registry, so that the packages of a baseline are never mixed with
soundmark's. The processes stay alive between calls, so that contenders can be measured in turn: a temporary load on the
machine slows all of them.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from types import TracebackType
from typing import Any

HERE = Path(__file__).resolve().parent
BUILD = HERE.parent / "build" / "bench"
COMPLETE = {"opensoundscape"}  # files that list every package, without those that fetch gigabytes and are not used


def environment(name: str) -> Path:
    """Return the Python of the environment that ``peers/<name>.txt`` describes; create it on first use."""
    requirements = HERE / "peers" / f"{name}.txt"
    folder = BUILD / f"{name}-{hashlib.sha256(requirements.read_bytes()).hexdigest()[:8]}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    ready = folder / "ready"  # written last: an interrupted installation is repeated
    if not ready.exists():
        print(f"creating the environment {name} …", file=sys.stderr)
        venv.create(folder, clear=True, with_pip=True)
        alone = ["--no-deps"] if name in COMPLETE else []
        subprocess.run([python, "-m", "pip", "install", "--quiet", *alone, "-r", requirements], check=True)
        ready.touch()
    return python


class Contender:
    """A script that is being measured, in its own process; ``call`` runs one of its methods."""

    def __init__(self, python: str | Path, script: str, *arguments: str | Path) -> None:
        command = [python, HERE / "peers" / script, *arguments]
        self._process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if os.environ.get("QUIET_PEERS", "1") == "1" else None,
            text=True,
        )
        self.versions: dict[str, str] = self._read_result()

    def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        """Call ``method`` in the process; return its result, which consists of JSON values."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"method": method, **arguments}, default=str) + "\n")
        self._process.stdin.flush()
        return self._read_result()

    def _read_result(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            command = " ".join(str(part) for part in self._process.args)  # type: ignore[union-attr]
            raise SystemExit(
                f"{command} ended with status {self._process.wait()}. Set QUIET_PEERS=0 to see its errors."
            )
        result: dict[str, Any] = json.loads(line)
        return result

    def __enter__(self) -> Contender:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
