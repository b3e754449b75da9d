"""A real git server for tests: git's own `git http-backend` behind a small HTTP server on 127.0.0.1."""

import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from .processes import run

_IDENTITY = {
    "GIT_AUTHOR_NAME": "Test Author",
    "GIT_AUTHOR_EMAIL": "author@example.org",
    "GIT_AUTHOR_DATE": "2024-01-01T00:00:00+00:00",
    "GIT_COMMITTER_NAME": "Test Author",
    "GIT_COMMITTER_EMAIL": "author@example.org",
    "GIT_COMMITTER_DATE": "2024-01-01T00:00:00+00:00",
}


@contextmanager
def git_http_server(root: Path) -> Iterator[str]:
    """Serve all repositories below `root` for the `with` block and give the base URL, without a final /.

    A repository `root/name.git` is cloned from `<base URL>/name.git`, by smart HTTP in any version of the
    protocol. Pushing is refused with 403; what does not exist is answered with 404. Repositories may be
    added or changed meanwhile.

    Raises RuntimeError if git is not installed.
    """
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Bridge, root, _git())) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), name="git-http", daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def bare_repository(root: Path, name: str, source_folder: Path, *, branch: str = "main") -> str:
    """Commit all files of a folder to the bare repository `root/name` and return the commit's hash.

    The repository is made if there is none; otherwise the branch gets a further commit, which replaces
    all files. Author, dates and message are fixed, so that the same content with the same history has
    the same hash everywhere. Files which .gitignore names are committed as well; empty folders are not.

    Raises RuntimeError with git's own words if git is missing or refuses.
    """
    repository = (root / name).resolve()
    repository.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        env = _environment() | _IDENTITY
        env |= {"GIT_DIR": str(repository), "GIT_INDEX_FILE": str(Path(scratch) / "index")}

        def git(*arguments: str | Path) -> str:
            return run([_git(), *arguments], env=env, cwd=source_folder).decode().strip()

        if not repository.exists():
            git("init", "--quiet", "--bare", f"--initial-branch={branch}")
            git("config", "uploadpack.allowAnySHA1InWant", "true")
            git("config", "uploadpack.allowFilter", "true")
        git("--work-tree", source_folder.resolve(), "add", "--all", "--force", ".")
        tree = git("write-tree")
        known = git("for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}")
        parents = ["-p", known] if known else []
        commit = git("commit-tree", tree, *parents, "-m", "Test content")
        git("update-ref", f"refs/heads/{branch}", commit)
    return commit


class _Bridge(BaseHTTPRequestHandler):
    """Turns each request into a call of `git http-backend` by the rules of CGI."""

    protocol_version = "HTTP/1.1"

    def __init__(self, root: Path, git: str, *connection: Any) -> None:
        self._root, self._git = root, git
        super().__init__(*connection)

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self._body())

    def _answer(self, body: bytes) -> None:
        url = urlsplit(self.path)
        env = _environment() | {
            "GIT_PROJECT_ROOT": str(self._root.resolve()),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REQUEST_METHOD": self.command,
            "PATH_INFO": unquote(url.path),
            "QUERY_STRING": url.query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "REMOTE_ADDR": self.client_address[0],
        }
        answer = run([self._git, "http-backend"], env=env, given=body, check=False)
        head, _, content = answer.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode("latin-1").split("\r\n") if line)
        status = fields.pop("Status", "200" if head else "500").split()[0]
        self.send_response(int(status))
        for field, value in fields.items():
            self.send_header(field, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", "0")))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _environment() -> dict[str, str]:
    """Return an environment in which no configuration of the user or the system counts."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "LC_ALL": "C",
    }


def _git() -> str:
    found = shutil.which("git")
    if found is None:
        raise RuntimeError("git is not installed")
    return found
