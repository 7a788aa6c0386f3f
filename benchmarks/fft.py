"""Compare FFT libraries: the real transform of 173 frames of 2 048 float32 samples (a clip of 4 s), on one thread.

    python benchmarks/fft.py [--rounds 200]

Each library runs in a separate process, because NumPy's transform can be faster once SciPy has been imported. The table
contains the median time, and the largest error relative to double precision.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys

CONTENDERS = {
    "np.fft": "import numpy as np; transform = np.fft.rfft",
    "np.fft, SciPy loaded": "import scipy.fft, numpy as np; transform = np.fft.rfft",
    "scipy.fft": "import scipy.fft; transform = scipy.fft.rfft",
    "ducc0": "from ducc0.fft import r2c; transform = lambda x: r2c(x, axes=(1,), nthreads=1)",
}
MEASURE = """
import statistics, sys, time
import numpy as np
{setup}
x = np.random.default_rng(0).standard_normal((173, 2048)).astype(np.float32)
exact = np.fft.rfft(x.astype(np.float64))
error = np.abs(transform(x) - exact).max() / np.abs(exact).max()
times = []
for _ in range({rounds}):
    start = time.perf_counter()
    transform(x)
    times.append(time.perf_counter() - start)
print(statistics.median(times) * 1e3, error)
"""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    rounds = parser.parse_args().rounds
    print(f"173 × 2048 float32, one thread, {platform.machine()}, Python {platform.python_version()}\n")
    print("| transform | median ms | largest error |\n|---|---|---|")
    for name, setup in CONTENDERS.items():
        code = MEASURE.format(setup=setup, rounds=rounds)
        output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        milliseconds, error = map(float, output.split())
        print(f"| {name} | {milliseconds:.2f} | {error:.1e} |")


if __name__ == "__main__":
    main()
