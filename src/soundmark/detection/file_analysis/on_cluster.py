"""Files and parts of long files as the work of an executor: planned once, in shards of similar size.

Workers read the files themselves, under the same paths as this machine, from a folder that all machines mount, or from
URLs. A worker that finds another file than this machine stops the analysis: its result would be wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace

from soundmark.detection.file_analysis import analyze_file, decoders_of, result_of, with_start
from soundmark.detection.file_analysis.parts import Part, joined, plan_parts, score_part
from soundmark.detection.file_result import FileResult
from soundmark.detection.inputs import STANDARD_INPUT, Failure, Input
from soundmark.detection.settings import DetectionSettings
from soundmark.errors import processing
from soundmark.models.classifier import Model
from soundmark.models.streaming import WindowScores
from soundmark.runtime import parallel
from soundmark.runtime.checks import is_url
from soundmark.runtime.parallel import same_files
from soundmark.runtime.parallel.same_files import Found
from soundmark.runtime.text import counted

SHARDS_PER_CORE = 8  # so that all workers end at nearly the same time


MAX_FILES = 64  # of a shard: results arrive, and are stored, at least that often


LEAST_DIVIDED_BYTES = 1_000_000  # smaller files are too short for parts


Numbered = Generator[tuple[int, FileResult | Failure], None, None]


@dataclass(frozen=True, kw_only=True)
class _Shared:
    """What all work has in common; a cluster sends it to each worker once."""

    model: Model
    settings: DetectionSettings
    timezone: str
    isolate: bool


@dataclass(frozen=True, kw_only=True)
class _Shard:
    """Whole files, with their indices in the list."""

    indices: tuple[int, ...]
    files: tuple[Input, ...]
    paths: tuple[str, ...]  # absolute

    @classmethod
    def of(cls, indices: Sequence[int], files: Mapping[int, Input]) -> _Shard:
        chosen = [files[index] for index in indices]
        paths = tuple(same_files.absolute(file.path) for file in chosen)
        return cls(indices=tuple(indices), files=tuple(chosen), paths=paths)

    @property
    def description(self) -> str:
        others = len(self.files) - 1
        return f'"{self.files[0].path}"' + (f" and {counted(others, 'more file')}" if others else "")


@dataclass(frozen=True, kw_only=True)
class _FilePart:
    """Part ``number`` of the file with this index."""

    index: int
    number: int
    part: Part

    @property
    def description(self) -> str:
        return f'"{self.part.path}"'


@dataclass(frozen=True, kw_only=True)
class _Done:
    """Results of a worker, and the files that it found."""

    found: Found
    results: Sequence[FileResult | Failure] = ()
    scores: Sequence[WindowScores] | None = None  # of a part; None: it shows a problem


def analyze_on(
    executor: Executor,
    model: Model,
    files: Sequence[Input | Failure],
    settings: DetectionSettings,
    *,
    timezone: str = "UTC",
    isolate: bool = False,
    on_sound: Callable[[str, float, float], None] = lambda file, analyzed_s, of_s: None,
) -> Numbered:
    """Analyse ``files`` on an executor; yield the index and the result of each, as soon as it is known.

    Raises:
        SettingsError: a worker finds another file than this machine.
        SoundmarkError: the cluster was lost.

    >>> from concurrent.futures import ThreadPoolExecutor
    >>> files = [Input(str(clip.path), clip.path.name) for clip in city.clips[:3]]
    >>> with ThreadPoolExecutor(2) as pool:
    ...     sorted(index for index, found in analyze_on(pool, model, files, DetectionSettings()))
    [0, 1, 2]
    """
    shared = _Shared(model=model, settings=settings.for_model(model), timezone=timezone, isolate=isolate)
    sent: dict[int, Input] = {}
    for index, file in enumerate(files):
        if isinstance(file, Failure):
            yield index, file
        elif file.path == STANDARD_INPUT or not (is_url(file.path) or same_files.size(file.path)):
            # A missing file is reported from here.
            yield index, with_start(analyze_file(model, file, shared.settings), timezone)
        else:
            sent[index] = file
    shards, parts = _planned(sent, shared, parallel.count(executor))
    damaged: list[_Shard] = []
    yield from _run(executor, shared, sent, [*parts, *shards], damaged, on_sound)
    yield from _run(executor, shared, sent, damaged, [], on_sound)


def _planned(files: dict[int, Input], shared: _Shared, cores: int) -> tuple[list[_Shard], list[_FilePart]]:
    """Divide the work into shards and parts of similar size."""
    sizes = {index: same_files.size(file.path) or 0 for index, file in files.items()}
    share = max(1.0, sum(sizes.values()) / (SHARDS_PER_CORE * cores))
    most_files = max(1, min(MAX_FILES, -(-len(files) // (SHARDS_PER_CORE * cores))))
    parts: list[_FilePart] = []
    shards: list[_Shard] = []
    pending: list[int] = []
    for index, file in files.items():
        divided: list[Part] = []
        if sizes[index] > max(share, LEAST_DIVIDED_BYTES) and not shared.isolate:
            divided = plan_parts(
                shared.model, same_files.absolute(file.path), shared.settings, most=-int(-sizes[index] // share)
            )
        if divided:
            parts += [_FilePart(index=index, number=number, part=part) for number, part in enumerate(divided)]
            continue
        pending.append(index)
        if len(pending) >= most_files or sum(sizes[one] for one in pending) >= share:
            shards.append(_Shard.of(pending, files))
            pending = []
    if pending:
        shards.append(_Shard.of(pending, files))
    return shards, parts


def _run(
    executor: Executor,
    shared: _Shared,
    files: Mapping[int, Input],
    items: Sequence[_Shard | _FilePart],
    damaged: list[_Shard],
    on_sound: Callable[[str, float, float], None],
) -> Numbered:
    """Run the work; add files that must be analysed as a whole, after all, to ``damaged``."""
    counts: dict[int, int] = {}
    for item in items:
        if isinstance(item, _FilePart):
            counts[item.index] = counts.get(item.index, 0) + 1
    scores: dict[int, dict[int, Sequence[WindowScores] | None]] = {}
    for number, done in parallel.map_unordered(_work, items, jobs=executor, shared=shared):
        item = items[number]
        if isinstance(item, _Shard):
            same_files.check([file.path for file in item.files], done.found)
            yield from zip(item.indices, map(_as_given, item.files, done.results), strict=True)
            continue
        path = files[item.index].path
        same_files.check([path], done.found)
        found = scores.setdefault(item.index, {})
        found[item.number] = done.scores
        total_s = item.part.n_samples / item.part.rate_hz
        on_sound(path, total_s * len(found) / counts[item.index], total_s)
        if len(found) == counts[item.index]:
            result = _joined(shared, path, item.part, [found[k] for k in sorted(found)])
            del scores[item.index]
            if result is None:
                damaged.append(_Shard.of([item.index], files))
            else:
                yield item.index, result


def _as_given(file: Input, result: FileResult | Failure) -> FileResult | Failure:
    """Return the result of a worker with the path as it was given."""
    if isinstance(result, Failure):
        return Failure(file.path, same_files.as_given(result.reason, file.path))
    note = result.note and same_files.as_given(result.note, file.path)
    return replace(result, file=file.path, note=note)


def _joined(
    shared: _Shared, path: str, part: Part, scores: Sequence[Sequence[WindowScores] | None]
) -> FileResult | Failure | None:
    """Return the result of a recording from the scores of its parts; None if a part showed a problem."""
    complete = [each for each in scores if each is not None]
    if len(complete) < len(scores):
        return None
    ordered = [batch for each in complete for batch in each]
    aggregator, events = joined(shared.model, part, ordered, shared.settings)
    return with_start(result_of(shared.model, path, aggregator, events, shared.settings), shared.timezone)


def _work(shared: _Shared, item: _Shard | _FilePart) -> _Done:
    """Analyse files, or score a part of one, on a worker."""
    if isinstance(item, _FilePart):
        with processing(item.description):
            scores = score_part(shared.model, item.part, shared.settings)
        return _Done(found=same_files.find([item.part.path]), scores=scores)
    results = []
    files = [Input(path, file.name) for path, file in zip(item.paths, item.files, strict=True)]
    seen = same_files.find(item.paths)
    with decoders_of(shared.isolate, 1) as decoders:
        for file in files:
            with processing(f'"{file.path}"'):
                found = analyze_file(shared.model, file, shared.settings, decoders=decoders)
            results.append(with_start(found, shared.timezone))
    return _Done(found=seen, results=results)
