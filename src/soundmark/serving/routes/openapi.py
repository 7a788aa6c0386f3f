"""The OpenAPI document of the server."""

from __future__ import annotations

from collections.abc import Sequence

from soundmark.serving.routes import teach_paths
from soundmark.serving.routes.openapi_parts import Json
from soundmark.serving.routes.openapi_parts import in_path as _in_path
from soundmark.serving.routes.openapi_parts import json_answer as _json
from soundmark.serving.routes.openapi_parts import name_in_path as _name_in_path
from soundmark.serving.routes.openapi_parts import parameter as _parameter
from soundmark.serving.routes.openapi_parts import problems as _problems
from soundmark.serving.settings import ServerSettings

PROBLEM: Json = {
    "type": "object",
    "required": ["title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "One clear message."},
    },
}


EVENT: Json = {
    "type": "object",
    "required": ["start_s", "stop_s", "label", "confidence", "peak"],
    "properties": {
        "start_s": {"type": "number", "minimum": 0},
        "stop_s": {"type": "number", "minimum": 0},
        "label": {"type": "string"},
        "confidence": {"type": "number", "minimum": 0, "maximum": 1},
        "peak": {"type": "number", "minimum": 0, "maximum": 1},
        "level_dbfs": {"type": "number"},
        "level_dba": {"type": "number"},
        "start_utc": {"type": "string", "format": "date-time"},
    },
}


RESULT: Json = {
    "type": "object",
    "required": ["file", "duration_s", "classes", "events"],
    "properties": {
        "file": {"type": "string"},
        "duration_s": {"type": "number"},
        "classes": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["label", "score"],
                "properties": {
                    "label": {"type": "string"},
                    "score": {"type": "number"},
                    "present": {"type": "boolean"},
                },
            },
        },
        "events": {"type": "array", "items": {"$ref": "#/components/schemas/Event"}},
        "began": {"type": "string", "format": "date-time"},
        "note": {"type": "string"},
    },
}


MODEL: Json = {
    "type": "object",
    "required": ["name", "classes", "window_s", "overlap", "summary", "details", "card", "limits"],
    "properties": {
        "name": {"type": "string"},
        "classes": {"type": "array", "items": {"type": "string"}},
        "window_s": {"type": "number"},
        "overlap": {"type": "number"},
    },
}


SOUND: Json = {
    "required": True,
    "description": "A sound file: WAV, FLAC, Ogg, MP3 or AIFF; raw, or as the file of a form.",
    "content": {
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {"file": {"type": "string", "format": "binary"}},
            }
        },
    },
}


DETECTION = [
    _parameter("top_k", {"type": "integer", "minimum": 1, "default": 3}, "Classes to list for the recording."),
    _parameter(
        "overlap",
        {"type": "number", "minimum": 0, "exclusiveMaximum": 1},
        "Overlap between consecutive windows, as a fraction of the window; default: the model's.",
    ),
    _parameter(
        "min_confidence",
        {"type": "number", "minimum": 0, "maximum": 1},
        "Probability at which an event starts; default: the model's, or 0.5.",
    ),
    _parameter(
        "merge_gap",
        {"type": "number", "minimum": 0},
        "Merge events of a class that are at most this many seconds apart.",
    ),
    _parameter("unknown", {"type": "boolean", "default": True}, 'Report sounds unlike the training data as "unknown".'),
]


NAME = _parameter("name", {"type": "string", "maxLength": 200}, "Name of the recording in the results.")


RESULT_FORMATS = ["json", "jsonl", "csv", "audacity", "raven"]


def _formats() -> Json:
    """Return the content of results in each format."""
    text = {"schema": {"type": "string"}}
    return {
        "application/json": {"schema": {"type": "array", "items": {"$ref": "#/components/schemas/Result"}}},
        "application/jsonl": text,
        "text/csv": text,
        "text/plain": text,
        "text/tab-separated-values": text,
    }


def _status_paths() -> Json:
    text = {"description": "Metrics.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    state = {"type": "object", "required": ["status"], "properties": {"status": {"type": "string"}}}
    return {
        "/healthz": {"get": {"summary": "Is the server alive?", "responses": _json("Yes.", state) | _problems()}},
        "/readyz": {
            "get": {"summary": "Does it accept uploads?", "responses": _json("Yes.", state) | _problems("503")}
        },
        "/metrics": {"get": {"summary": "Metrics for Prometheus.", "responses": {"200": text} | _problems()}},
        "/v1/openapi.json": {
            "get": {"summary": "This document.", "responses": _json("OpenAPI 3.1.", {"type": "object"}) | _problems()}
        },
        "/v1/model": {
            "get": {
                "summary": "The card of the model, and the limits of the server.",
                "responses": _json("The model.", {"$ref": "#/components/schemas/Model"}) | _problems(),
            }
        },
        "/v1/session": {
            "post": {
                "summary": "Set the cookie of a browser whose request has the token.",
                "responses": {"204": {"description": "The cookie is set."}} | _problems(),
            }
        },
    }


def _upload_paths() -> Json:
    formats = {"type": "string", "enum": ["json", "jsonl", "updates", "csv", "audacity", "raven"], "default": "json"}
    explanation = {"type": "object", "required": ["label", "score", "regions", "sentence"]}
    results = {"type": "array", "items": {"$ref": "#/components/schemas/Result"}}
    seconds = {"type": "number", "minimum": 0}
    return {
        "/v1/classify": {
            "post": {
                "summary": "Classify a sound: its classes, and events with their times.",
                "description": "jsonl sends each event as it ends, updates also probabilities and spectrogram: for "
                "long recordings. If the analysis fails after its first line, the last line has an error.",
                "parameters": [
                    *DETECTION,
                    NAME,
                    _parameter(
                        "format", formats, "As `soundmark classify --format`; updates: all results as they are."
                    ),
                ],
                "requestBody": SOUND,
                "responses": {"200": {"description": "The results.", "content": _formats()}}
                | _problems("400", "408", "413", "422", "503", "507"),
            }
        },
        "/v1/explain": {
            "post": {
                "summary": "Find the regions of the spectrogram that matter most for the top class.",
                "parameters": [
                    _parameter("start", seconds, "Start of the part to explain, in seconds."),
                    _parameter("stop", seconds, "End of the part; default: that of the recording."),
                    NAME,
                ],
                "requestBody": SOUND,
                "responses": _json("The explanation.", explanation)
                | _problems("400", "408", "413", "422", "503", "507"),
            }
        },
        "/v1/convert": {
            "post": {
                "summary": "Convert results of /v1/classify to another format.",
                "parameters": [
                    _parameter("format", {"type": "string", "enum": RESULT_FORMATS, "default": "csv"}, "The format.")
                ],
                "requestBody": {"required": True, "content": {"application/json": {"schema": results}}},
                "responses": {"200": {"description": "The results.", "content": _formats()}}
                | _problems("400", "408", "413", "503"),
            }
        },
    }


ARCHIVE: Json = {
    "type": "object",
    "required": ["name", "recordings", "windows", "duration_s", "classes", "likely_windows", "revision"],
    "properties": {
        "name": {"type": "string"},
        "recordings": {"type": "integer"},
        "windows": {"type": "integer"},
        "duration_s": {"type": "number"},
        "classes": {"type": "array", "items": {"type": "string"}},
        "likely_windows": {
            "type": "object",
            "additionalProperties": {"type": "integer"},
            "description": "The number of windows with a score of at least 0.05, by class.",
        },
        "revision": {"type": "string", "description": "Changes when windows get other numbers."},
    },
}


PICTURE: Json = {
    "type": "object",
    "required": ["number", "file", "start_s", "stop_s", "window", "spectrogram", "tiles"],
    "properties": {
        "number": {"type": "integer"},
        "file": {"type": "string"},
        "start_s": {"type": "number"},
        "stop_s": {"type": "number"},
        "window": {"type": "object", "required": ["start_s", "stop_s", "label", "score", "level_dbfs"]},
        "spectrogram": {"type": "object", "required": ["scale", "frequencies_hz", "db_min", "db_max"]},
        "tiles": {"type": "array", "items": {"type": "object", "required": ["start_s", "stop_s", "rows", "columns"]}},
    },
}


REVIEW: Json = {
    "type": "object",
    "required": ["class", "wanted", "reviewed", "contain", "skipped", "decisions", "upcoming", "curve", "outlook"],
    "properties": {
        "class": {"type": "string"},
        "wanted": {"type": "number"},
        "reviewed": {"type": "integer"},
        "contain": {"type": "integer"},
        "skipped": {"type": "integer"},
        "decisions": {"type": "array", "items": {"type": "object", "required": ["window", "decision", "label"]}},
        "upcoming": {"type": "array", "items": {"type": "integer"}},
        "curve": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["threshold", "windows", "precision", "low", "high", "reached"],
                "properties": {
                    "threshold": {"type": "number"},
                    "windows": {"type": "integer"},
                    "precision": {"type": ["number", "null"]},
                    "low": {"type": ["number", "null"]},
                    "high": {"type": ["number", "null"]},
                    "reached": {"type": "number", "description": "Probability that the precision is as wanted."},
                },
            },
        },
        "safe_threshold": {"type": ["number", "null"]},
        "threshold": {"type": ["number", "null"], "description": "That in the file of thresholds."},
        "outlook": {
            "type": "object",
            "required": ["reviews", "chance"],
            "properties": {"reviews": {"type": ["integer", "null"]}, "chance": {"type": "number"}},
        },
    },
}


DECISION: Json = {
    "type": "object",
    "required": ["class", "window", "decision"],
    "additionalProperties": False,
    "properties": {
        "class": {"type": "string"},
        "wanted": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1, "default": 0.9},
        "window": {"type": "integer"},
        "decision": {"type": "string", "enum": ["yes", "no", "label", "none", "skip", "undo"]},
        "label": {"type": "string", "description": "The class that is present, of the decision label."},
        "revision": {"type": "string", "description": "That of the review which the window is from."},
        "reviewer": {"type": "string"},
    },
}


THRESHOLD: Json = {
    "type": "object",
    "required": ["class", "threshold"],
    "additionalProperties": False,
    "properties": {
        "class": {"type": "string"},
        "wanted": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1, "default": 0.9},
        "threshold": {"type": "number", "minimum": 0, "maximum": 1},
        "model": {"type": "boolean", "default": False, "description": "Also write a copy of the model with it."},
    },
}


def _review_paths(archives: Sequence[str]) -> Json:
    name = [_name_in_path(archives)]
    review = _json("The state of the review.", {"$ref": "#/components/schemas/Review"})
    written = {"type": "object", "required": ["file", "model", "thresholds"]}
    statuses = _problems("400", "404", "408", "409", "413", "422", "503", "507")

    def body(schema: str) -> Json:
        reference = {"schema": {"$ref": f"#/components/schemas/{schema}"}}
        return {"required": True, "content": {"application/json": reference}}

    return {
        "/v1/archives/{archive}/review": {
            "get": {
                "summary": "The review of a class: decisions, precision by threshold, and the windows to review next.",
                "parameters": [
                    *name,
                    _parameter("class", {"type": "string"}, "The class; default: that of most likely windows."),
                    _parameter(
                        "wanted",
                        {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1, "default": 0.9},
                        "The wanted precision.",
                    ),
                ],
                "responses": review | _problems("400", "404", "422", "503"),
            },
            "post": {
                "summary": "Record a decision about a window, or undo it.",
                "parameters": name,
                "requestBody": body("Decision"),
                "responses": review | statuses,
            },
        },
        "/v1/archives/{archive}/threshold": {
            "post": {
                "summary": "Write a threshold into the file of thresholds, and use it from now on.",
                "parameters": name,
                "requestBody": body("Threshold"),
                "responses": _json("It is written.", written) | statuses,
            }
        },
    }


def _archive_paths(archives: Sequence[str]) -> Json:
    margin = {"type": "number", "minimum": 0, "maximum": 30, "default": 1.0}
    common = [
        *_in_path(archives),
        _parameter("margin", margin, "Seconds of the recording before and after the window."),
        _parameter("class", {"type": "string"}, "Class of the score; default: that with the highest score."),
    ]
    equal = _parameter(
        "equal_loudness", {"type": "boolean", "default": False}, "Scale the sound, so that quiet ones can be heard."
    )
    found = {"type": "object", "required": ["archives"], "properties": {"archives": {"type": "array"}}}
    found["properties"]["archives"]["items"] = {"$ref": "#/components/schemas/Archive"}  # type: ignore[index]
    wav = {"description": "WAV.", "content": {"audio/wav": {"schema": {"type": "string", "format": "binary"}}}}
    statuses = _problems("400", "404", "408", "422", "503")
    window = "/v1/archives/{archive}/windows/{window}"
    return {
        "/v1/archives": {
            "get": {
                "summary": "The archives of the server, and what they contain.",
                "responses": _json("The archives.", found) | _problems("400"),
            }
        },
        f"{window}/sound": {
            "get": {
                "summary": "The sound of a window, with a margin.",
                "parameters": [*common, equal],
                "responses": {"200": wav} | statuses,
            }
        },
        f"{window}/spectrogram": {
            "get": {
                "summary": "The spectrogram of a window as the model sees it, with a margin.",
                "parameters": common,
                "responses": _json("The spectrogram.", {"$ref": "#/components/schemas/Picture"}) | statuses,
            }
        },
    }


def document(settings: ServerSettings, archives: Sequence[str] = ()) -> Json:
    """Return the OpenAPI document of a server with some ``archives``.

    >>> sorted(document(ServerSettings())["paths"])[:2]
    ['/healthz', '/metrics']
    """
    found: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": "soundmark",
            "version": "1",
            "description": f"Classify sounds. An upload has at most {settings.max_upload_bytes / 1e6:g} MB and "
            f"{settings.max_audio_s / 3600:g} h. WS /v1/listen classifies live PCM: see docs/serve.md.",
        },
        "paths": _status_paths()
        | _upload_paths()
        | _archive_paths(archives)
        | _review_paths(archives)
        | teach_paths.paths(archives),
        "components": {
            "schemas": {
                "Problem": PROBLEM,
                "Event": EVENT,
                "Result": RESULT,
                "Model": MODEL,
                "Archive": ARCHIVE,
                "Picture": PICTURE,
                "Review": REVIEW,
                "Decision": DECISION,
                "Threshold": THRESHOLD,
                "Teach": teach_paths.TEACH,
                "Job": teach_paths.JOB,
            }
        },
    }
    if settings.token is not None:
        found["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        found["security"] = [{"token": []}]
    return found
