"""Serve method calls from ``contenders.Contender``: a line of JSON per call on stdin, a line per result on stdout."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from typing import Any


def serve(contender: Any, *packages: str) -> None:
    """Print the versions of ``packages``, then call the methods of ``contender`` until standard input ends."""
    print(json.dumps({package: version(package) for package in packages}), flush=True)
    for line in sys.stdin:
        arguments = json.loads(line)
        result = getattr(contender, arguments.pop("method"))(**arguments)
        print(json.dumps(result), flush=True)
