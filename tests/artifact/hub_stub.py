"""What of the Hub's HTTP API `huggingface_hub` talks to when it pushes and fetches a model: in memory, on this machine.

Files of weights go the way of Git LFS, others in the commit itself, as the Hub decides by their endings.
"""

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

LARGE = (".onnx", ".safetensors", ".data")


class Hub:
    """Repositories: `commits` are revisions with their files, the newest last; `visibility` as it was asked for."""

    def __init__(self):
        self.commits, self.visibility, self.objects, self.asked = {}, {}, {}, []

    def files(self, repo, revision):
        found = [files for name, files in self.commits[repo] if revision in {name, "main"}]
        return found[-1]

    def commit(self, repo, changes):
        before = dict(self.commits[repo][-1][1]) if self.commits[repo] else {}
        files = before | changes
        told = repr(sorted((name, hashlib.sha256(data).hexdigest()) for name, data in files.items()))
        revision = hashlib.sha1(f"{len(self.commits[repo])}{told}".encode()).hexdigest()
        self.commits[repo].append((revision, files))
        return revision


class Handler(BaseHTTPRequestHandler):
    """One request; `server.hub` is what it is about."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, document=None, *, body=None, **headers):
        body = json.dumps(document).encode() if body is None else body
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def dispatch(self):
        hub, path = self.server.hub, unquote(urlsplit(self.path).path)
        hub.asked.append((self.command, path, self.headers.get("Authorization")))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = path.strip("/").split("/")
        if path == "/api/repos/create":
            return self.create(hub, json.loads(body))
        if path == "/api/validate-yaml":
            return self.answer(200, {"errors": [], "warnings": []})
        if path.endswith(".git/info/lfs/objects/batch"):
            return self.batch(hub, json.loads(body))
        if parts[0] == "lfs":
            hub.objects[parts[1]] = body
            return self.answer(200, {})
        if "resolve" in parts:
            repo, what, revision, body = "/".join(parts[:2]), "resolve", parts[3], "/".join(parts[4:])
        else:
            repo, (what, revision) = "/".join(parts[2:4]), parts[4:6] if len(parts) > 5 else ("revision", "main")
        return self.ask(hub, repo, what, revision, body)

    def ask(self, hub, repo, what, revision, body):
        """What is missing is a 404 that says so: to a connection that only breaks the client comes back for long."""
        if repo not in hub.commits:
            return self.answer(404, {"error": "Repository not found"}, X_Error_Code="RepoNotFound")
        if revision not in {"main", *(name for name, _ in hub.commits[repo])}:
            return self.answer(404, {"error": "Invalid rev id"}, X_Error_Code="RevisionNotFound")
        return getattr(self, what)(hub, repo, revision, body)

    do_GET = do_POST = do_PUT = do_HEAD = dispatch  # noqa: N815 - so the library finds them

    def create(self, hub, asked):
        repo = f"{asked['organization']}/{asked['name']}"
        if repo in hub.commits:
            return self.answer(409, {"error": "You already created this model repo"})
        hub.commits[repo], hub.visibility[repo] = [], asked.get("visibility")
        return self.answer(200, {"url": f"http://{self.headers['Host']}/{repo}", "name": repo})

    def preupload(self, hub, repo, revision, body):
        files = [
            {
                "path": one["path"],
                "uploadMode": "lfs" if one["path"].endswith(LARGE) else "regular",
                "shouldIgnore": False,
            }
            for one in json.loads(body)["files"]
        ]
        return self.answer(200, {"files": files})

    def batch(self, hub, asked):
        place = f"http://{self.headers['Host']}/lfs"
        objects = [
            one | {"actions": {"upload": {"href": f"{place}/{one['oid']}", "header": {}}}} for one in asked["objects"]
        ]
        return self.answer(200, {"transfer": "basic", "objects": objects})

    def commit(self, hub, repo, revision, body):
        changes = {}
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                changes[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                changes[value["path"]] = hub.objects[value["oid"]]
        oid = hub.commit(repo, changes)
        url = f"http://{self.headers['Host']}/{repo}/commit/{oid}"
        return self.answer(200, {"success": True, "commitOid": oid, "commitUrl": url})

    def revision(self, hub, repo, revision, body):
        sha = hub.commits[repo][-1][0] if revision == "main" else revision
        siblings = [{"rfilename": name} for name in hub.files(repo, revision)]
        return self.answer(200, {"id": repo, "sha": sha, "siblings": siblings, "private": False, "tags": []})

    def tree(self, hub, repo, revision, body):
        listed = [
            {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
            for name, data in hub.files(repo, revision).items()
        ]
        return self.answer(200, listed)

    def resolve(self, hub, repo, revision, name):
        if name not in (files := hub.files(repo, revision)):
            return self.answer(404, {"error": "Entry not found"}, X_Error_Code="EntryNotFound")
        data = files[name]
        sha = hub.commits[repo][-1][0] if revision == "main" else revision
        etag = f'"{hashlib.sha256(data).hexdigest()}"'
        return self.answer(200, body=data, ETag=etag, X_Repo_Commit=sha, Accept_Ranges="bytes")


@contextmanager
def serve():
    """A stub under `hub.url`, until the end of the block."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.hub = Hub()
    server.hub.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.hub
    finally:
        server.shutdown()
        server.server_close()
