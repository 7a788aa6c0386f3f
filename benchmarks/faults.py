"""Break every command that writes a folder, at every write, in every way; run it again; compare with an unbroken run.

    python benchmarks/faults.py [--most 1000] [--only classify,merge] [--seed 0]

At the n-th write (a file opened for writing, renamed or deleted, a folder made) the command is killed, or this and all
later writes fail: the disk is full, it is read-only, or the permission is lost. The message must be one sentence, each
file that is left must be that of a finished run (of this one, or of the one before), and the same command must then
complete, with the results of an unbroken run. ``--most`` limits the writes that are tried per command and fault; they
are then drawn at random. Prints a table; the exit status is 1 if anything is wrong.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from support.fault_runs import COMMANDS, FaultyRuns, make_workplace
from support.faulty_io import FAULTS
from support.models import random_model


def main() -> None:
    """Run the trials."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=1000)
    parser.add_argument("--only", default=",".join(COMMANDS).replace(", ", "; "))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    chosen = [name.replace("; ", ", ") for name in arguments.only.split(",")]
    wrong = 0
    print(f"| command | writes | {' | '.join(FAULTS)} |\n|---|---:|{'---:|' * len(FAULTS)}", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        workplace = make_workplace(Path(temporary) / "workplace", random_model().bundle)
        (Path(temporary) / "runs").mkdir()
        for name in chosen:
            runs = FaultyRuns(workplace, name, Path(temporary) / "runs")
            cells = []
            for fault in FAULTS:
                writes = list(range(1, runs.writes + 1))
                if len(writes) > arguments.most:
                    writes = sorted(random.Random(arguments.seed).sample(writes, arguments.most))
                trials = [runs.trial(fault, n) for n in writes]
                failed = [trial for trial in trials if trial.faults]
                wrong += len(failed)
                cells.append(f"{len(trials) - len(failed)} of {len(trials)}")
                for trial in failed:
                    print(trial, file=sys.stderr, flush=True)
            print(f"| `{name}` | {runs.writes} | {' | '.join(cells)} |", flush=True)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
