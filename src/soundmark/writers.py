"""stub"""

import csv
import io
from dataclasses import dataclass


@dataclass
class Format:
    suffix: str
    write: object


def _csv(found):
    yield b"Start (s),End (s),Label,Confidence,File\n"
    for h in found:
        for e in getattr(h, "events", ()):
            t = io.StringIO()
            csv.writer(t, lineterminator="\n").writerow(
                [f"{e.start_s:.3f}", f"{e.stop_s:.3f}", e.label, f"{e.confidence:.6g}", h.file]
            )
            yield t.getvalue().encode(errors="surrogateescape")


FORMATS = {"csv": Format(".csv", _csv)}
