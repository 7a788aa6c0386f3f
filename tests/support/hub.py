"""A local stand-in of the Hugging Face Hub's HTTP interface, for the requests of huggingface_hub."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "hf_secretsecretsecretsecret"  # noqa: S105 - of the stand-in only
LARGE = (".onnx",)  # files that the Hub keeps in LFS


@dataclass
class Hub:
    """Repositories by name: their files, and whether they are private."""

    url: str = ""
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    private: set[str] = field(default_factory=set)
    objects: dict[str, bytes] = field(default_factory=dict)  # of LFS, by SHA-256
    messages: list[str] = field(default_factory=list)
    stated: dict[str, str] = field(default_factory=dict)  # headers that replace the true ones
    requests: list[str] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, *_) -> None:
        pass

    @property
    def token(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def json(self, values: object, status: int = 200) -> None:
        self.answer(status, json.dumps(values).encode(), Content_Type="application/json")

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.hub.requests.append(f"{self.command} {self.path}")
        parts = self.path.split("?")[0].strip("/").split("/")
        if len(parts) < 5 or parts[2] != "resolve":
            return self.answer(404)
        repository, revision, file = "/".join(parts[:2]), parts[3], "/".join(parts[4:])
        if repository not in self.hub.files or (repository in self.hub.private and not self.token):
            return self.answer(401, X_Error_Code="RepoNotFound")
        if revision not in ("main", "c" * 40):
            return self.answer(404, X_Error_Code="RevisionNotFound")
        if file not in self.hub.files[repository]:
            return self.answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit="c" * 40)
        content = self.hub.files[repository][file]
        digest = hashlib.sha256(content).hexdigest()
        headers = {"X_Repo_Commit": "c" * 40, "ETag": f'"{digest}"', "X_Linked_Etag": f'"{digest}"', **self.hub.stated}
        self.answer(200, content, **headers)

    def do_POST(self) -> None:
        self.hub.requests.append(f"{self.command} {self.path}")
        body = self.body()
        if not self.token:
            return self.answer(401)
        path = self.path.split("?")[0]
        if path == "/api/repos/create":
            return self.create(json.loads(body))
        if path == "/api/validate-yaml":
            return self.json({"errors": [], "warnings": []})
        if "/preupload/" in path:
            return self.json({"files": [self.upload_mode(each["path"]) for each in json.loads(body)["files"]]})
        if path.endswith("/info/lfs/objects/batch"):
            uploads = [self.upload(each) for each in json.loads(body)["objects"]]
            return self.json({"transfer": "basic", "objects": uploads})
        if "/commit/" in path:
            return self.commit("/".join(path.split("/")[3:5]), body)
        return self.answer(404)

    def create(self, values: dict) -> None:
        repository = f"{values.get('organization') or 'user'}/{values['name']}"
        if repository.startswith("other/"):
            return self.answer(403)
        exists = repository in self.hub.files
        self.hub.files.setdefault(repository, {})
        if values.get("private") or values.get("visibility") == "private":
            self.hub.private.add(repository)
        url = f"{self.hub.url}/{repository}"
        return self.json({"url": url, "name": repository}, 409 if exists else 200)

    def upload_mode(self, path: str) -> dict:
        return {"path": path, "uploadMode": "lfs" if path.endswith(LARGE) else "regular", "shouldIgnore": False}

    def upload(self, wanted: dict) -> dict:
        href = f"{self.hub.url}/lfs/{wanted['oid']}"
        return {**wanted, "actions": {"upload": {"href": href, "header": {}}}}

    def do_PUT(self) -> None:
        content = self.body()
        oid = self.path.rpartition("/")[2]
        if hashlib.sha256(content).hexdigest() != oid:
            return self.answer(422)
        self.hub.objects[oid] = content
        return self.answer(200)

    def commit(self, repository: str, body: bytes) -> None:
        for line in body.splitlines():
            operation = json.loads(line)
            value = operation["value"]
            if operation["key"] == "header":
                self.hub.messages.append(value["summary"])
            elif operation["key"] == "file":
                self.hub.files[repository][value["path"]] = base64.b64decode(value["content"])
            else:
                self.hub.files[repository][value["path"]] = self.hub.objects[value["oid"]]
        url = f"{self.hub.url}/{repository}/commit/{'c' * 40}"
        self.json({"success": True, "commitOid": "c" * 40, "commitUrl": url, "hookOutput": ""})


@contextmanager
def running_hub() -> Iterator[Hub]:
    """A Hub at a free port of this machine."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("BoundHandler", (Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
