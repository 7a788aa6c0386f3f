"""The package versions and the machine that produced a result."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from soundmark.runtime import parallel

PACKAGES = ("soundmark", "numpy", "soundfile", "soxr", "ducc0", "pillow", "onnxruntime", "torch", "onnx")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that can affect numeric results.

    >>> sorted(versions())[:3]
    ['ducc0', 'numpy', 'onnx']
    """
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """Return the operating system, processor, number of cores and memory of this machine.

    >>> sorted(machine())
    ['cores', 'memory_gb', 'processor', 'system']
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else None
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": _processor(),
        "cores": parallel.available_cores(),
        "memory_gb": round(memory / 2**30, 1) if memory else None,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"
