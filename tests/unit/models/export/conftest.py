"""onnxruntime-web, the WebAssembly build of ONNX Runtime, from npm."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from soundmark.models.export.targets.web_page import VERSION

ONNXRUNTIME_WEB = f"onnxruntime-web@{VERSION}"


@pytest.fixture(scope="session")
def node(tmp_path_factory) -> Path:
    """A folder with onnxruntime-web. If it cannot be installed, the test is skipped, but fails in CI."""
    folder = tmp_path_factory.mktemp("node")
    if not shutil.which("npm"):
        _skip("npm is not installed: Node.js runs the example in JavaScript")
    options = ["--no-audit", "--no-fund", "--ignore-scripts"]
    command = ["npm", "install", "--prefix", str(folder), *options, ONNXRUNTIME_WEB]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode:
        _skip(f"{ONNXRUNTIME_WEB} cannot be installed: {done.stderr.strip().splitlines()[-1:]}")
    return folder


def _skip(reason: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
