"""As much of the Hugging Face Hub as narrowbench talks to, on this machine and in memory; huggingface_hub speaks to it
over HTTP.

Main object: `Hub`, with `files` (repository -> name -> content), `asked` (what it was created with), `commits`.
Example: the fixture `hub` starts one
"""

import base64
import hashlib
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MADE_WITH_IT = {"space": {"README.md": b"---\nsdk: static\n---\n", "index.html": b"new", "style.css": b"new"}}


class Hub(ThreadingHTTPServer):
    """Answers with `refuses`, where that is a status; adds a byte to the file called `spoils` when it arrives."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, dict[str, bytes]] = {}
        self.asked: dict[str, dict] = {}
        self.commits: dict[str, list[set[str]]] = {}
        """Repository -> the names of the files that each commit sent or deleted."""
        self.refuses, self.spoils = None, ""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def put(self, repo: str, name: str, content: bytes) -> None:
        """What somebody else does to a file of a repository."""
        self.files[repo][name] = content
        self.commits[repo].append({name})


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *args) -> None:
        pass

    def answer(self, body, status=200) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.send_header("X-Repo-Commit", "1" * 40)
        self.send_header("ETag", hashlib.sha1(raw).hexdigest())
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(raw)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        hub = self.server
        if hub.refuses:
            return self.answer({"error": "no"}, hub.refuses)
        if "/resolve/" in self.path:
            repo, name = self.path.split("/resolve/")[0].strip("/"), self.path.split("/resolve/")[1].split("/", 1)[1]
            return self.answer(hub.files["/".join(repo.split("/")[-2:])][name])
        repo = "/".join(self.path.split("/")[3:5]).split("?")[0]
        if "/tree/" in self.path:
            blobs = {name: hashlib.sha1(b"blob %d\0" % len(raw) + raw).hexdigest()
                     for name, raw in hub.files[repo].items()}
            return self.answer([{"type": "file", "path": name, "size": len(hub.files[repo][name]), "oid": oid}
                                for name, oid in blobs.items()])
        if "/commits/" in self.path:
            return self.answer([{"id": "1" * 40, "title": "x", "message": "", "date": "2026-01-01T00:00:00.000Z",
                                 "authors": [{"user": "a"}]} for _ in hub.commits[repo]])
        self.answer({"id": repo, "modelId": repo, "private": hub.asked[repo].get("visibility") == "private",
                     "siblings": [], "tags": [], "downloads": 0, "sha": "1" * 40})

    def do_POST(self) -> None:
        hub, raw = self.server, self.rfile.read(int(self.headers["Content-Length"]))
        if hub.refuses:
            return self.answer({"error": "no"}, hub.refuses)
        if self.path.endswith("/validate-yaml"):
            return self.answer({"errors": [], "warnings": []})
        if self.path.endswith("/repos/create"):
            return self.create(json.loads(raw))
        repo = "/".join(self.path.split("/")[3:5])
        if "/preupload/" in self.path:
            return self.answer({"files": [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                                          for file in json.loads(raw)["files"]]})
        hub.commits[repo].append(set())
        for line in map(json.loads, raw.splitlines()):
            if line["key"] == "header":
                continue
            name = line["value"]["path"]
            hub.commits[repo][-1].add(name)
            if line["key"] == "deletedFile":
                del hub.files[repo][name]
            else:
                hub.files[repo][name] = base64.b64decode(line["value"]["content"]) + (b"!" * (name == hub.spoils))
        self.answer({"commitUrl": f"https://huggingface.co/{repo}/commit/{'1' * 40}", "commitOid": "1" * 40,
                     "pullRequestUrl": None})

    def create(self, asked: dict) -> None:
        hub, repo, kind = self.server, f"{asked['organization']}/{asked['name']}", asked.get("type", "model")
        address = f"https://huggingface.co/{'' if kind == 'model' else kind + 's/'}{repo}"
        if repo in hub.files:
            return self.answer({"error": "exists", "url": address}, 409)
        hub.files[repo] = {".gitattributes": b"* -text\n"} | MADE_WITH_IT.get(kind, {})
        hub.asked[repo], hub.commits[repo] = asked, [set(hub.files[repo])]
        self.answer({"url": address, "name": repo, "id": "1"})
