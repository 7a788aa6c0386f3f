"""The peak memory of a child process, for tests that hostile or long sounds take a bounded amount."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# Linux adds the peak of the parent to ``ru_maxrss`` of a new process; ``VmHWM`` is that of the process alone.
PEAK = """
import re, resource, sys
from pathlib import Path
status = Path("/proc/self/status")
kib = re.search(r"VmHWM:\\s+(\\d+)", status.read_text())[1] if status.exists() else 0
unit = 1 if sys.platform == "darwin" else 1024
print("PEAK", int(kib) * 1024 or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
"""


def run_measured(code: str, *, input: bytes | Path = b"") -> tuple[str, float]:
    """Run Python ``code`` in a new process; return its output and its peak memory in MB.

    Standard input is ``input``, or the content of the file at this path from a pipe.
    """
    command = [sys.executable, "-c", f"{code}\n{PEAK}"]
    if isinstance(input, Path):
        with subprocess.Popen(["cat", input], stdout=subprocess.PIPE) as pipe:
            done = subprocess.run(command, stdin=pipe.stdout, capture_output=True, text=True, check=False)
            assert pipe.stdout
            pipe.stdout.close()
    else:
        done = subprocess.run(command, input=input.decode(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    output, _, peak = done.stdout.rpartition("PEAK ")
    return output, int(peak) / 1e6
