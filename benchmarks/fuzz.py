"""Fuzz soundmark: sounds, models, model cards, tables, annotations, recipes or indexes with random damage.

    python benchmarks/fuzz.py --target sounds --seconds 1200 --seed 1 --findings findings
    python benchmarks/fuzz.py --target sounds --seed 1 --index 4711    # one input again, with its traceback

An input must give a valid result, or an error of soundmark whose message is one line that names the input. Anything
else is a finding: another exception, a crash, a step of more than 10 s of processor time, more than 500 MB of memory,
or a wrong answer (read twice, in blocks, from bytes, after save and load: always the same). The exit status is 1 if
there are findings. Input N of a seed is always the same.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", MPLBACKEND="agg")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.fuzzing import runner


def main() -> int:
    """Run the fuzzer, and print one line per kind of finding and the totals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", required=True, choices=runner.TARGETS)
    parser.add_argument("--seconds", type=float, metavar="N", help="Stop after this time.")
    parser.add_argument("--inputs", type=int, metavar="N", help="Stop after this many inputs.")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="Seed of all inputs. Default: 1.")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="Worker processes. Default: 1.")
    parser.add_argument("--findings", type=Path, metavar="DIR", help="Save the input of each kind of finding here.")
    parser.add_argument("--index", type=int, metavar="N", help="Check one input only, in this process.")
    parser.add_argument("--refusals", action="store_true", help="List the reasons of refusals.")
    parser.add_argument(
        "--fast", action="store_true", help="Report a step of more than 3 s as a hang, instead of 10 s."
    )
    arguments = parser.parse_args()
    if arguments.index is not None:
        return check_one(arguments.target, arguments.seed, arguments.index, arguments.findings)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # stops the workers
    seconds = 60.0 if arguments.seconds is None and arguments.inputs is None else arguments.seconds
    result = runner.run(
        arguments.target,
        seed=arguments.seed,
        seconds=seconds,
        inputs=arguments.inputs,
        workers=arguments.workers,
        findings=arguments.findings,
        step_cpu_s=3.0 if arguments.fast else runner.STEP_CPU_S,
        say=lambda line: print(line, flush=True),
    )
    if arguments.refusals:
        for reason, n in result.refusals.most_common(60):
            print(f"{n:8,}  {reason}")
    for signature, n in result.findings.most_common():
        print(f"{n:8,}  {signature}")
    rate = result.inputs / max(result.seconds, 1e-9)
    print(
        f"{result.target} seed {result.seed}: {result.inputs:,} inputs in {result.seconds:.0f} s "
        f"({rate:.0f} per second), {result.accepted:,} accepted, "
        f"{result.refused:,} refused, {len(result.findings)} kinds of finding",
        flush=True,
    )
    return 1 if result.findings else 0


def check_one(name: str, seed: int, index: int, findings: Path | None) -> int:
    """Check one input, and print its outcome."""
    target = runner.target_named(name)
    case, rng = runner.case_at(target, target.seeds(), seed, index)
    if findings is not None:
        print(case.write(findings / f"{name}-{seed}-{index}"))
    with tempfile.TemporaryDirectory() as folder:
        kind, signature, text = runner.outcome(target, case, rng, Path(folder) / "in", lambda step: print(f"- {step}"))
    print(f"{kind} {signature}\n{text}")
    return 0 if kind in ("accepted", "refused") else 1


if __name__ == "__main__":
    sys.exit(main())
