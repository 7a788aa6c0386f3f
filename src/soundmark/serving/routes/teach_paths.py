"""The paths of the Teach tab in the OpenAPI document."""

from __future__ import annotations

from collections.abc import Sequence

from soundmark.serving.routes.openapi_parts import BINARY, Json, json_answer, name_in_path, parameter, problems

TEACH: Json = {
    "type": "object",
    "required": ["model", "corrections", "training_data", "job", "models"],
    "properties": {
        "model": {"type": "object", "required": ["name", "in_use", "classes"]},
        "corrections": {"type": "object", "required": ["decisions", "labelled", "by_class", "max_bytes", "recent"]},
        "training_data": {"type": "object", "required": ["clips", "note"]},
        "job": {"$ref": "#/components/schemas/Job"},
        "models": {"type": "array", "items": {"type": "object", "required": ["number", "time", "report"]}},
    },
}


JOB: Json = {
    "type": "object",
    "required": ["state", "step", "detail", "seconds"],
    "properties": {
        "state": {"enum": ["idle", "running", "done", "cancelled", "failed", "interrupted"]},
        "seconds": {"type": "number"},
    },
}


WINDOWS: Json = {
    "type": "object",
    "required": ["archive", "windows"],
    "properties": {
        "windows": {
            "type": "array",
            "items": {"type": "object", "required": ["number", "file", "start_s", "stop_s", "label", "score"]},
        }
    },
}


LABEL: Json = {
    "type": "object",
    "required": ["archive", "window", "decision"],
    "additionalProperties": False,
    "properties": {
        "archive": {"type": "string"},
        "window": {"type": "integer", "minimum": 0, "description": "Its recording is the one that is labelled."},
        "start_s": {"type": "number", "minimum": 0, "description": "Of a region; default: of the window."},
        "stop_s": {"type": "number", "minimum": 0},
        "decision": {"enum": ["yes", "label", "none", "no", "skip"]},
        "label": {"type": "string", "maxLength": 1000},
        "asked": {"type": "string", "maxLength": 1000, "description": "The class that was asked about."},
        "reviewer": {"type": "string", "maxLength": 200},
    },
}


def paths(archives: Sequence[str]) -> Json:
    """Return the paths of the Teach tab on a server with ``archives``.

    >>> sorted(paths([]))[0]
    '/v1/archives/{archive}/similar'
    """
    return _teach_paths() | _search_paths(archives)


def _teach_paths() -> Json:
    taught = {"$ref": "#/components/schemas/Teach"}
    state = {"anyOf": [taught, {"type": "object", "required": ["is_on", "note"]}]}
    job = {"202": {"description": "The training.", "content": {"application/json": {"schema": JOB}}}}
    added = {"201": {"description": "The label is kept.", "content": {"application/json": {"schema": taught}}}}
    file = {"description": "The model.", "content": {"application/octet-stream": {"schema": BINARY}}}
    one: Json = {"name": "label", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    number: Json = {"name": "number", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 0}}
    model = {"type": "object", "required": ["number"], "properties": {"number": {"type": "integer"}}}
    body = {"required": True, "content": {"application/json": {"schema": LABEL}}}
    chosen = {"required": True, "content": {"application/json": {"schema": model | {"additionalProperties": False}}}}
    return {
        "/v1/teach": {
            "get": {
                "summary": "Corrections, the training, and the models.",
                "responses": json_answer("What there is.", state) | problems("400"),
            }
        },
        "/v1/teach/labels": {
            "post": {
                "summary": "Label a window of an archive, or a region of its recording.",
                "requestBody": body,
                "responses": added | problems("400", "404", "408", "409", "413", "422", "503", "507"),
            }
        },
        "/v1/teach/labels/{label}": {
            "delete": {
                "summary": "Undo a label.",
                "parameters": [one],
                "responses": json_answer("What there is now.", taught) | problems("400", "404", "409", "507"),
            }
        },
        "/v1/teach/training": {
            "post": {
                "summary": "Retrain the model on the corrections, and on its training data if the server has them.",
                "responses": job | problems("400", "409"),
            },
            "delete": {"summary": "Cancel the training.", "responses": job | problems("400", "409")},
        },
        "/v1/teach/model": {
            "put": {
                "summary": "Use a model from now on; 0 is the one that the server was started with.",
                "requestBody": chosen,
                "responses": json_answer("What there is now.", taught)
                | problems("400", "404", "409", "413", "422", "507"),
            }
        },
        "/v1/teach/models/{number}": {
            "get": {
                "summary": "Download a model that was taught.",
                "parameters": [number],
                "responses": {"200": file} | problems("400", "404", "409"),
            }
        },
    }


def _search_paths(archives: Sequence[str]) -> Json:
    name = [name_in_path(archives)]
    n = parameter("n", {"type": "integer", "minimum": 1, "maximum": 200, "default": 20}, "Number of windows.")
    seconds = {"type": "number", "minimum": 0}
    window = parameter("window", {"type": "integer", "minimum": 0}, "The window to compare with.") | {"required": True}
    label = parameter("class", {"type": "string"}, "The class.")
    found = json_answer("Windows, the best first.", WINDOWS)
    return {
        "/v1/archives/{archive}/similar": {
            "get": {
                "summary": "Windows of other recordings that sound like a window, or like a region of its recording.",
                "parameters": [
                    *name,
                    window,
                    parameter("start", seconds, "Start of the region, in seconds."),
                    parameter("stop", seconds, "End of the region."),
                    n,
                ],
                "responses": found | problems("400", "404", "408", "422", "503"),
            }
        },
        "/v1/archives/{archive}/suggestions": {
            "get": {
                "summary": "What to label next: uncertain, and different from each other.",
                "parameters": [*name, n, label],
                "responses": found | problems("400", "404", "409", "422", "503"),
            }
        },
        "/v1/archives/{archive}/top": {
            "get": {
                "summary": "The windows with the highest score of a class, by the model in use.",
                "parameters": [*name, n, label | {"required": True}],
                "responses": found | problems("400", "404", "422", "503"),
            }
        },
    }
