"""Options that several commands share.

Help texts are noun phrases; the names in ``rich_help_panel`` are the groups of the help page. In reading order:

    parsers   parse the values of options
    groups    several options as one parameter of a command
    training  which clips, and how to train on them
    serving   options of the commands that serve a page
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from soundmark.cli import choices, completion
from soundmark.cli.options.groups import with_groups  # noqa: F401
from soundmark.cli.options.parsers import (  # noqa: F401 - commands use them as options.path, …
    InvalidValue,
    Number,
    UnknownName,
    cluster_address,
    finite,
    fold_numbers,
    fraction,
    frequency_band,
    integer,
    model_name,
    number,
    one_of,
    path,
    path_or_url,
    positive_integer,
    result_format,
)
from soundmark.cli.options.serving import (  # noqa: F401
    Archives,
    CorrectionsFolder,
    MaxCorrections,
    NoSpeech,
    Port,
    TrainData,
    corrections_option,
)
from soundmark.cli.options.training import (  # noqa: F401
    Backbone,
    BackboneOutput,
    BackboneRate,
    Complete,
    Subset,
    TrainingOptions,
)

# --- Options that commands complete ---


def output_option(
    metavar: str, help: str, *, show_default: bool | str = False, parser: Callable[[str], Any] = path
) -> Any:
    """Return the option ``-o`` for a file or a folder.

    >>> output_option("DIR", "Folder for the results.").metavar
    'DIR'
    """
    return typer.Option(
        "-o",
        "--output",
        metavar=metavar,
        help=help,
        show_default=show_default,
        parser=parser,
        rich_help_panel="Output",
    )


def format_option(known: Mapping[str, str], *, show_default: bool | str = True) -> Any:
    """Return the option ``--format`` with the ``known`` names.

    >>> format_option({"table": "a table", "json": "JSON"}).parser("json")
    'json'
    """
    return typer.Option(
        "--format",
        metavar="NAME",
        help="Output format; see Formats.",
        show_default=show_default,
        parser=one_of("format", known),
        autocompletion=completion.names(known),
        rich_help_panel="Output",
    )


def recipe_option(help: str, *, group: str = "Training", show_default: bool | str = True) -> Any:
    """Return the option ``--recipe`` in a ``group`` of the help page.

    >>> recipe_option("Recipe, or a .toml file. See Recipes.").rich_help_panel
    'Training'
    """
    return typer.Option(
        metavar="NAME",
        help=help,
        show_default=show_default,
        autocompletion=completion.names(choices.RECIPES),
        rich_help_panel=group,
    )


def _model_option(help: str, *, show_default: bool | str = True) -> Any:
    """The option -m of a command."""
    return typer.Option(
        "-m",
        "--model",
        metavar="MODEL",
        help=help,
        show_default=show_default,
        parser=model_name,
        autocompletion=completion.models,
        rich_help_panel="Input",
    )


# --- Input ------------------------------------------------------------------------------------------------------------

DATASET = (
    "Path of a data set: the folder of UrbanSound8K or ESC-50, a folder with one folder of sound files per class, a "
    "CSV table (path,label), or annotated recordings (Raven, Audacity, Whombat, tables)."
)


DatasetPath = Annotated[
    Path, typer.Argument(metavar="DATASET", help=DATASET, show_default=False, parser=path, rich_help_panel="Input")
]


DatasetPaths = Annotated[
    list[Path],
    typer.Argument(
        metavar="DATASET...",
        help=f"{DATASET} Several are joined, such as a data set and a folder of corrections.",
        show_default=False,
        parser=path,
        rich_help_panel="Input",
    ),
]


MODEL = "Trained model (.onnx, hf://USER/NAME), or audioset"


AUDIOSET = f"{MODEL}: a pretrained model with AudioSet's 527 classes."


ModelName = Annotated[str, _model_option(f"{MODEL}.", show_default=False)]


ModelOrDefault = Annotated[str, _model_option(AUDIOSET)]


ServedModel = Annotated[str | None, _model_option(AUDIOSET, show_default="the index's, or audioset")]


Classes = Annotated[
    str | None,
    typer.Option(
        "--classes",
        metavar="NAMES",
        help="Detect only these classes of a multi-label model, separated by commas.",
        show_default="all",
        rich_help_panel="Detection",
    ),
]


ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help=f"{MODEL}.",
        show_default=False,
        parser=model_name,
        autocompletion=completion.models,
        rich_help_panel="Input",
    ),
]


Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[INPUT]...",
        help="Sound files, folders (searched with all folders below), URLs (s3://bucket/*.flac, gs://, https://), or "
        '"-" for a sound file on standard input.',
        show_default=False,
        rich_help_panel="Input",
    ),
]


FilesFrom = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help='List of sound files, one path per line; "-" for standard input.',
        show_default=False,
        rich_help_panel="Input",
    ),
]


IndexModel = Annotated[
    str | None, _model_option(f"{MODEL}; needed for a results folder.", show_default="the model of the index")
]


IndexFolder = Annotated[
    Path,
    typer.Argument(
        metavar="INDEX",
        help="Folder made by `soundmark index`, or with -m a results folder of `soundmark classify -o`.",
        show_default=False,
        parser=path,
        rich_help_panel="Input",
    ),
]


NWindows = Annotated[
    int,
    typer.Option("-n", metavar="N", help="Number of windows.", parser=positive_integer, rich_help_panel="Output"),
]


Timezone = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Timezone of the times in file names, like Europe/Berlin, where the name states none.",
        autocompletion=completion.timezones,
        rich_help_panel="Input",
    ),
]


LiveSource = Annotated[
    str,
    typer.Argument(
        metavar="[SOURCE]",
        help='Audio source: microphone, "-" for PCM or WAV on standard input, or a URL (rtsp://, http://).',
        rich_help_panel="Input",
    ),
]


Rate = Annotated[
    int,
    typer.Option(
        metavar="HZ",
        help="Sample rate of the PCM on standard input, in Hz.",
        parser=positive_integer,
        rich_help_panel="Input",
    ),
]


Channels = Annotated[
    int,
    typer.Option(
        metavar="N",
        help="Channels of PCM on standard input, interleaved.",
        parser=positive_integer,
        rich_help_panel="Input",
    ),
]


SampleFormat = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Sample format of PCM on standard input, little-endian; see Sample formats.",
        autocompletion=completion.names(choices.SAMPLE_FORMATS),
        rich_help_panel="Input",
    ),
]


# --- Training ---------------------------------------------------------------------------------------------------------

Device = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Device to train on: auto, cpu, cuda or mps.",
        autocompletion=completion.names(choices.DEVICES),
        rich_help_panel="Training",
    ),
]


# --- Detection --------------------------------------------------------------------------------------------------------

TopK = Annotated[
    int,
    typer.Option(
        metavar="N",
        help="Number of most probable classes to list per file.",
        parser=positive_integer,
        rich_help_panel="Detection",
    ),
]


Unknown = Annotated[
    bool,
    typer.Option(
        "--unknown/--no-unknown",
        help='Report sounds that are unlike the training data as "unknown", if the model supports it.',
        rich_help_panel="Detection",
    ),
]


Overlap = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        help="Overlap between consecutive windows, 0 to 1; 0.75: four windows per window length.",
        show_default="the model's",
        parser=number,
        rich_help_panel="Detection",
    ),
]


MinConfidence = Annotated[
    float | None,
    typer.Option(
        "--min-confidence",
        "--min-conf",
        metavar="P",
        help="Detection threshold: probability at which an event starts, 0 to 1.",
        show_default="the model's, or 0.5",
        parser=fraction,
        rich_help_panel="Detection",
    ),
]


Thresholds = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Detection threshold per class: TOML with lines like siren = 0.7, or CSV with label,threshold.",
        show_default=False,
        parser=path,
        rich_help_panel="Detection",
    ),
]


MergeGap = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        help="Largest gap between events of a class that are merged into one.",
        parser=number,
        rich_help_panel="Detection",
    ),
]


Calibration = Annotated[
    float | None,
    typer.Option(
        "--calibration",
        metavar="DB",
        help="Sound pressure level of 0 dBFS, in dB: gives the level of each event in dB(A) too.",
        show_default=False,
        parser=number,
        rich_help_panel="Detection",
    ),
]


# --- Output -----------------------------------------------------------------------------------------------------------

Output = Annotated[Path, output_option("DIR", "Folder for the results.")]


Figure = Annotated[Path | None, output_option("FILE", "Figure to write: .png, .svg or .pdf.")]


ResultFormat = Annotated[str | None, format_option(choices.RESULT_FORMATS, show_default="table; csv with -o")]


# --- General ----------------------------------------------------------------------------------------------------------

Isolate = Annotated[
    bool,
    typer.Option(
        "--isolate",
        help="Decode each file in a process with limits on memory and time, for files from unknown sources.",
        rich_help_panel="General",
    ),
]


ShardOption = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="K/N",
        help="Analyse only part K of N, for arrays of jobs on several machines; soundmark merge combines the results.",
        show_default=False,
        rich_help_panel="General",
    ),
]


Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="ADDRESS",
        help="Dask cluster for the work: its scheduler, like tcp://10.0.0.5:8786; local: processes on this machine.",
        show_default=False,
        parser=cluster_address,
        rich_help_panel="General",
    ),
]


Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        "--threads",
        metavar="N",
        help="Number of parallel workers.",
        show_default="all cores",
        parser=positive_integer,
        rich_help_panel="General",
    ),
]


Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress.", rich_help_panel="General")]


Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace the output file if it exists.", rich_help_panel="Output")
]


Fresh = Annotated[
    bool,
    typer.Option(
        "--fresh", help="Discard an earlier run and start over, instead of resuming it.", rich_help_panel="General"
    ),
]
