"""The other end of ``contenders.Contender``: answer orders until there are no more. Imported by every peer."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from typing import Any


def answer(contender: Any, *packages: str) -> None:
    """Say the versions of ``packages``, then do what each line asks for, by the name of a method."""
    print(json.dumps({package: version(package) for package in packages}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        told = getattr(contender, order.pop("do"))(**order)
        print(json.dumps(told), flush=True)
