"""Who is measured: a script in an environment of its own, that takes orders as lines of JSON and answers each with one.

The environments are made here, from the package registry, once: a peer's packages never meet soundmark's. Contenders
stay up between orders, so that they can take turns: what slows the machine for a while slows them all.
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


def environment(name: str) -> Path:
    """The Python of the environment that ``peers/<name>.txt`` describes, made where it is not there yet."""
    requirements = HERE / "peers" / f"{name}.txt"
    folder = BUILD / f"{name}-{hashlib.sha256(requirements.read_bytes()).hexdigest()[:8]}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    ready = folder / "ready"  # last: an installation that was cut is made again
    if not ready.exists():
        print(f"making the environment of {name} …", file=sys.stderr)
        venv.create(folder, clear=True, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", requirements], check=True)
        ready.touch()
    return python


class Contender:
    """A running script; ``ask`` gives it an order and waits for the answer."""

    def __init__(self, python: str | Path, script: str, *arguments: str | Path) -> None:
        command = [python, HERE / "peers" / script, *arguments]
        self._process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if os.environ.get("QUIET_PEERS", "1") == "1" else None,
            text=True,
        )
        self.versions: dict[str, str] = self._answer()

    def ask(self, do: str, **order: Any) -> dict[str, Any]:
        """The answer to an order; its values are plain."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **order}, default=str) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            command = " ".join(str(part) for part in self._process.args)  # type: ignore[union-attr]
            raise SystemExit(f"{command} ended with {self._process.wait()}. QUIET_PEERS=0 shows why.")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Contender:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
