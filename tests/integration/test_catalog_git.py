"""Workflows from git repositories, with the real git over file:// and HTTP."""

import base64
import http.client
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from snakeway.catalog import Catalog
from snakeway.errors import Invalid, InvalidWorkflow, SourceUnreachable, Unavailable, WorkflowNotFound
from snakeway.settings import Settings
from tests.support.gitserver import bare_repository, git_http_server
from tests.support.processes import run

COMMITTED_S = 1_704_067_200  # 2024-01-01, the date of the fixture's commits
MAIN = {"workflow/Snakefile": "rule all: pass\n", "config/config.yaml": "a: 1\n", "README.md": "Says hello.\n"}


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.fixture(autouse=True)
def no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


class Repository:
    """A bare repository and the means to change it."""

    def __init__(self, root: Path, name: str) -> None:
        self.root, self.name = root, name
        self.path = root / name
        self.source = root.parent / f"source-of-{name}"

    def commit(self, files: dict[str, str], links: dict[str, str] | None = None, branch: str = "main") -> str:
        """Commit exactly these files; keys that end in .sh are executable."""
        shutil.rmtree(self.source, ignore_errors=True)
        write(self.source, files)
        for name in files:
            if name.endswith(".sh"):
                (self.source / name).chmod(0o755)
        for name, target in (links or {}).items():
            (self.source / name).parent.mkdir(parents=True, exist_ok=True)
            (self.source / name).symlink_to(target)
        return bare_repository(self.root, self.name, self.source, branch=branch)

    def git(self, *arguments: str, given: bytes = b"") -> str:
        identity = {f"GIT_{who}_{what}": "x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        env = {**os.environ, **identity, "GIT_DIR": str(self.path)}
        return run(["git", *arguments], env=env, given=given).decode().strip()

    @property
    def url(self) -> str:
        return f"file://{self.path}"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    (tmp_path / "repositories").mkdir()
    return Repository(tmp_path / "repositories", "lab.git")


@pytest.fixture(params=["file", "http"])
def url(request: pytest.FixtureRequest, repository: Repository) -> Iterator[str]:
    """URL of the repository, once by each way to it."""
    if request.param == "file":
        yield repository.url
    else:
        with git_http_server(repository.root) as base:
            yield f"{base}/{repository.name}"


def new_catalog(tmp_path: Path, **settings: Any) -> Catalog:
    values = {"data_dir": tmp_path / "data", "workflows_dir": tmp_path / "none", "profiles_dir": tmp_path / "none"}
    return Catalog(Settings(**(values | settings)))


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return new_catalog(tmp_path)


def test_branches_tags_and_commits_are_resolved(repository: Repository, url: str, catalog: Catalog) -> None:
    first = repository.commit(MAIN)
    repository.git("tag", "light", first)
    repository.git("tag", "-a", "-m", "x", "annotated", first)
    second = repository.commit(MAIN | {"workflow/Snakefile": "# two"})
    repository.git("branch", "light", second)  # a tag goes before a branch, as in gitrevisions(7)
    repository.git("branch", "feature/x", second)
    expected = {"HEAD": second, "main": second, "refs/heads/main": second, "feature/x": second, second: second}
    expected |= {"light": first, "annotated": first, "tags/light": first, "heads/light": second, first: first}
    for ref, commit in expected.items():
        workflow = catalog.pin_git(url, ref)
        assert workflow.source == {"kind": "git", "url": url, "ref": ref, "commit": commit, "path": ""}
        text = (catalog.snapshot(workflow.digest) / "workflow/Snakefile").read_text()
        assert text == ("# two" if commit == second else MAIN["workflow/Snakefile"])
    assert (workflow.name, workflow.description, workflow.defaults) == ("lab", "Says hello.", {"a": 1})


def test_a_moved_branch_is_seen_at_once(repository: Repository, url: str, catalog: Catalog) -> None:
    repository.commit(MAIN)
    first = catalog.pin_git(url)
    second_commit = repository.commit(MAIN | {"config/config.yaml": "a: 2\n"})
    second = catalog.pin_git(url)
    assert second.source["commit"] == second_commit
    assert second.defaults == {"a": 2}
    assert catalog.pinned(first.digest, first.name, first.source) == first


def test_a_commit_that_was_taken_needs_no_network(repository: Repository, tmp_path: Path) -> None:
    commit = repository.commit(MAIN)
    pinned = new_catalog(tmp_path).pin_git(repository.url, commit)
    branch = new_catalog(tmp_path).pin_git(repository.url, "main")
    shutil.rmtree(repository.path)
    again = new_catalog(tmp_path)
    assert again.pin_git(repository.url, commit) == pinned
    assert again.pin_git(repository.url, commit.upper()).digest == branch.digest
    shutil.rmtree(again.snapshot(pinned.digest))
    assert again.pin_git(repository.url, commit) == pinned  # from the copy of the repository
    with pytest.raises(SourceUnreachable):
        again.pin_git(repository.url, "main")


def test_a_workflow_may_be_in_a_subfolder(repository: Repository, url: str, catalog: Catalog) -> None:
    repository.commit({"README.md": "x", **{f"workflows/rna seq/{name}": text for name, text in MAIN.items()}})
    workflow = catalog.pin_git(url, "HEAD", "workflows/rna seq/")
    assert (workflow.name, workflow.source["path"]) == ("rna-seq", "workflows/rna seq")
    assert set(os.listdir(catalog.snapshot(workflow.digest))) == {"workflow", "config", "README.md"}  # noqa: PTH208
    with pytest.raises(WorkflowNotFound, match=r"has no Snakefile at \w+ in this folder; looked for Snakefile,"):
        catalog.pin_git(url)
    for path in ("missing", "README.md", "workflows/missing"):
        with pytest.raises(WorkflowNotFound, match=f"has no folder '{path}' at"):
            catalog.pin_git(url, "HEAD", path)


def test_the_same_files_have_the_same_digest_from_anywhere(repository: Repository, catalog: Catalog) -> None:
    commit = repository.commit(MAIN)
    repository.commit({"README.md": "x", **{f"w/{name}": text for name, text in MAIN.items()}})
    assert catalog.pin_git(repository.url, commit).digest == catalog.pin_git(repository.url, "HEAD", "w").digest


def test_files_are_as_in_the_repository(repository: Repository, catalog: Catalog) -> None:
    files = {
        "run.sh": "#!/bin/sh\n",
        ".gitattributes": "dos.txt eol=crlf\nsecret.txt export-ignore\nsubst.txt export-subst\n",
        ".gitignore": "*.txt\n",
        "dos.txt": "a\n",
        "secret.txt": "kept",
        "subst.txt": "$Format:%H$",
        ".snakemake/log": "left out",
        "d/.snakeway/run.json": "left out",
    }
    repository.commit(MAIN | files, {"link.txt": "dos.txt", "up/link": "../d/../dos.txt"})
    workflow = catalog.pin_git(repository.url)
    folder = catalog.snapshot(workflow.digest)
    assert (folder / "dos.txt").read_bytes() == b"a\n"
    assert (folder / "secret.txt").read_text() == "kept"
    assert (folder / "subst.txt").read_text() == "$Format:%H$"
    assert os.access(folder / "run.sh", os.X_OK)
    assert (folder / "dos.txt").stat().st_mode & 0o111 == 0
    assert (folder / "link.txt").readlink() == Path("dos.txt")
    assert not (folder / ".snakemake").exists()
    assert not (folder / "d/.snakeway").exists()
    assert {(folder / name).lstat().st_mtime for name in ("dos.txt", "link.txt", "up/link", "up")} == {COMMITTED_S}


def test_a_commit_from_the_future_has_files_of_today(repository: Repository, catalog: Catalog) -> None:
    repository.commit(MAIN)
    tree = repository.git("rev-parse", "HEAD^{tree}")
    far = f"tree {tree}\nauthor x <x> 9999999999 +0000\ncommitter x <x> 9999999999 +0000\n\nx\n"
    commit = repository.git("hash-object", "-t", "commit", "-w", "--stdin", given=far.encode())
    repository.git("update-ref", "refs/heads/main", commit)
    workflow = catalog.pin_git(repository.url)
    assert (catalog.snapshot(workflow.digest) / "README.md").stat().st_mtime <= time.time()


@pytest.mark.parametrize(
    "links",
    [
        {"data": "/etc/passwd"},
        {"data": "../outside"},
        {"a/b": "../../outside"},
        {"p/q/d": "../..", "e": "p/q/d/../../outside"},
        {"up": "..", "data": "up/x"},
        {"data": "workflow/../../x"},
    ],
)
def test_links_that_lead_out_are_refused(repository: Repository, catalog: Catalog, links: dict[str, str]) -> None:
    repository.commit(MAIN, links)
    with pytest.raises(
        InvalidWorkflow, match=r"the link '.*' (leads out of the workflow|has an absolute path); make it"
    ):
        catalog.pin_git(repository.url)
    assert list(catalog._snapshots._folder.iterdir()) == []


def make_tree(repository: Repository, *entries: tuple[str, str, str]) -> str:
    """Write a tree object by hand, which git itself would refuse; entries are (mode, name, object id)."""
    data = b"".join(f"{mode} {name}".encode() + b"\0" + bytes.fromhex(oid) for mode, name, oid in entries)
    return repository.git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", given=data)


def commit_tree(repository: Repository, tree: str) -> None:
    repository.git("update-ref", "refs/heads/main", repository.git("commit-tree", "-m", "x", tree))


@pytest.mark.parametrize("case", ["dots", "slash", "twice", "link and folder", "dot git", "folder and file"])
def test_trees_made_by_hand_write_nothing_outside(
    repository: Repository, catalog: Catalog, tmp_path: Path, case: str
) -> None:
    repository.commit(MAIN)
    evil = repository.git("hash-object", "-w", "--stdin", given=b"evil")
    out = repository.git("hash-object", "-w", "--stdin", given=str(tmp_path).encode())
    inner = make_tree(repository, ("100644", "evil", evil))
    snakefile = ("100644", "Snakefile", evil)
    trees = {
        "dots": [snakefile, ("40000", "..", inner)],
        "slash": [snakefile, ("100644", "../../evil", evil)],
        "twice": [snakefile, snakefile],
        "link and folder": [snakefile, ("120000", "a", out), ("40000", "a", inner)],
        "dot git": [snakefile, ("40000", ".git", inner)],
        "folder and file": [snakefile, ("40000", "a", inner), ("100644", "a", evil)],
    }
    commit_tree(repository, make_tree(repository, *trees[case]))
    with pytest.raises(InvalidWorkflow, match=r"leads out of it|two files|absolute path"):
        catalog.pin_git(repository.url)
    assert not list(tmp_path.rglob("evil"))
    assert list(catalog._snapshots._folder.iterdir()) == []


def test_submodules_are_not_followed(repository: Repository, catalog: Catalog) -> None:
    repository.commit(MAIN)
    blob = repository.git("rev-parse", "HEAD:README.md")
    modules = repository.git(
        "hash-object", "-w", "--stdin", given=b'[submodule "m"]\n\tpath = m\n\turl = ext::sh -c x\n'
    )
    tree = make_tree(
        repository, ("100644", ".gitmodules", modules), ("100644", "Snakefile", blob), ("160000", "m", "1" * 40)
    )
    commit_tree(repository, tree)
    workflow = catalog.pin_git(repository.url)
    assert set(os.listdir(catalog.snapshot(workflow.digest))) == {".gitmodules", "Snakefile"}  # noqa: PTH208


def test_too_much_is_refused_before_it_is_written(
    repository: Repository, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.commit(MAIN)
    monkeypatch.setattr("snakeway.catalog.gitexport.MAX_BYTES", 10)
    with pytest.raises(InvalidWorkflow, match="keep large data elsewhere"):
        catalog.pin_git(repository.url)


def test_an_unknown_ref_is_answered_with_a_close_one(repository: Repository, url: str, catalog: Catalog) -> None:
    commit = repository.commit(MAIN)
    repository.git("branch", "y/refs/heads/mian", commit)
    with pytest.raises(WorkflowNotFound, match=r"has no branch or tag 'mian'; did you mean .*'main'"):
        catalog.pin_git(url, "mian")
    with pytest.raises(WorkflowNotFound, match="must be named by its full id"):
        catalog.pin_git(url, commit[:10])
    with pytest.raises(WorkflowNotFound, match="has no commit 1111111111111111111111111111111111111111"):
        catalog.pin_git(url, "1" * 40)
    blob = repository.git("rev-parse", "HEAD:README.md")
    repository.git("tag", "blob", blob)
    with pytest.raises(WorkflowNotFound, match=r"'blob' of .* is not a commit"):
        catalog.pin_git(url, "blob")


def test_an_empty_repository_is_said_to_be_so(repository: Repository, url: str, catalog: Catalog) -> None:
    subprocess.run(["git", "init", "--quiet", "--bare", str(repository.path)], check=True)
    with pytest.raises(WorkflowNotFound, match="has no default branch"):
        catalog.pin_git(url)


def test_a_broken_workflow_is_refused(repository: Repository, catalog: Catalog) -> None:
    commit = repository.commit(MAIN | {"config/config.yaml": "a: 1\nb: [\n"})
    for _ in range(2):
        with pytest.raises(InvalidWorkflow, match=f"at {commit}: config/config.yaml, line 2"):
            catalog.pin_git(repository.url)


def test_a_repository_that_is_not_there_is_said_to_be_so(tmp_path: Path, catalog: Catalog) -> None:
    with pytest.raises(SourceUnreachable) as caught:
        catalog.pin_git(f"file://{tmp_path}/missing.git")
    assert caught.value.detail == (
        f"file://{tmp_path}/missing.git cannot be fetched: fatal: '{tmp_path}/missing.git' does not appear to be a git "
        "repository; check the address and that the server may read it"
    )
    with git_http_server(tmp_path) as base, pytest.raises(SourceUnreachable, match=r"repository '.*' not found"):
        catalog.pin_git(f"{base}/missing.git")
    with pytest.raises(SourceUnreachable, match="Failed to connect"):
        catalog.pin_git(f"{base}/missing.git")


@contextmanager
def http_server(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_server_that_only_has_files_is_enough(repository: Repository, catalog: Catalog) -> None:
    first = repository.commit(MAIN)
    second = repository.commit(MAIN | {"workflow/Snakefile": "# two"})
    repository.git("update-server-info")
    with http_server(partial(Quiet, directory=str(repository.root))) as host:
        url = f"http://{host}/{repository.name}"
        assert catalog.pin_git(url).source["commit"] == second
        assert catalog.pin_git(url, first).source["commit"] == first


def test_a_server_that_gives_out_branches_only_is_enough(
    repository: Repository, url: str, catalog: Catalog, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "gitconfig").write_text("[protocol]\n\tversion = 0\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    first = repository.commit(MAIN)
    second = repository.commit(MAIN | {"workflow/Snakefile": "# two"})
    repository.git("config", "uploadpack.allowAnySHA1InWant", "false")
    assert catalog.pin_git(url).source["commit"] == second
    assert catalog.pin_git(url, first).source["commit"] == first
    with pytest.raises(WorkflowNotFound, match="push the commit"):
        catalog.pin_git(url, "1" * 40)


class Guarded(BaseHTTPRequestHandler):
    """Asks for user:secret and then passes everything on to a git server."""

    def __init__(self, behind: str, *connection: Any) -> None:
        self._behind = behind
        super().__init__(*connection)

    def do_GET(self) -> None:
        expected = "Basic " + base64.b64encode(b"us@er:sec/ret").decode()
        if self.headers.get("Authorization") != expected:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        connection = http.client.HTTPConnection(self._behind)
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        wanted = ("Content-Type", "Git-Protocol", "Content-Encoding")
        headers = {name: self.headers[name] for name in wanted if name in self.headers}
        connection.request(self.command, self.path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.headers["Content-Type"])
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that gets the command line of every git, its helpers included."""
    log, real = tmp_path / "commands", subprocess.check_output(["git", "--exec-path"], text=True).strip()
    shims = tmp_path / "exec-path"
    shutil.copytree(real, shims, symlinks=True, ignore=lambda *_: ["git-remote-http"])
    for folder, name in ((shims, "git-remote-http"), (tmp_path / "bin", "git")):
        folder.mkdir(exist_ok=True)
        original = f"{real}/{name}"
        (folder / name).write_text(f'#!/bin/sh\necho "$0 $*" >> {log}\nexec {original} "$@"\n')
        (folder / name).chmod(0o755)
    monkeypatch.setenv("GIT_EXEC_PATH", str(shims))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return log


def test_credentials_are_used_and_never_shown(repository: Repository, tmp_path: Path, commands: Path) -> None:
    repository.commit(MAIN)
    catalog = new_catalog(tmp_path)
    with git_http_server(repository.root) as base, http_server(partial(Guarded, base.removeprefix("http://"))) as host:
        workflow = catalog.pin_git(f"http://us%40er:sec%2Fret@{host}/{repository.name}")
        assert workflow.source["url"] == f"http://{host}/{repository.name}"
        for wrong in ("us%40er:sec%2Fwrong@", "sec%2Fret@", ""):
            with pytest.raises(SourceUnreachable) as caught:
                catalog.pin_git(f"http://{wrong}{host}/{repository.name}")
            assert "sec" not in caught.value.detail
            assert caught.value.detail.startswith(f"http://{host}/{repository.name} cannot be fetched: fatal: ")
        # What was fetched with a password is not given to those who have none.
        with pytest.raises(SourceUnreachable):
            catalog.pin_git(f"http://{host}/{repository.name}", workflow.source["commit"])
    log = commands.read_text()
    assert "git-remote-http" in log
    assert "sec" not in log
    for path in (tmp_path / "data").rglob("*"):
        assert not path.is_file() or b"sec/ret" not in path.read_bytes()


def test_ssh_is_run_with_the_administrators_command(
    repository: Repository, catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.commit(MAIN)
    ssh = write(tmp_path, {"ssh": '#!/bin/sh\nfor last; do :; done\neval "$last"\n'}) / "ssh"
    ssh.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(ssh))
    workflow = catalog.pin_git(f"ssh://git@git.example.org{repository.path}")
    assert workflow.source["url"] == f"ssh://git@git.example.org{repository.path}"
    ssh.write_text("#!/bin/sh\necho 'Permission denied (publickey).' >&2\nexit 255\n")
    with pytest.raises(SourceUnreachable, match=r"cannot be fetched: Permission denied \(publickey\); check"):
        catalog.pin_git(f"ssh://git@git.example.org{repository.path}")


def test_a_redirect_leads_away_only_where_every_host_is_allowed(repository: Repository, tmp_path: Path) -> None:
    repository.commit(MAIN)
    with git_http_server(repository.root) as base:

        class Moved(Quiet):
            def do_GET(self) -> None:
                self.send_response(301)
                self.send_header("Location", base + self.path)
                self.send_header("Content-Length", "0")
                self.end_headers()

        with http_server(Moved) as host:
            url = f"http://{host}/{repository.name}"
            new_catalog(tmp_path).pin_git(url)
            with pytest.raises(SourceUnreachable):
                new_catalog(tmp_path, git_url_prefixes=[f"http://{host}/"]).pin_git(url)


def test_a_silent_server_is_given_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/x"
        with pytest.raises(SourceUnreachable, match=r"git took longer than 0\.5 s \(setting git_timeout_s\)"):
            new_catalog(tmp_path, git_timeout_s=0.5).pin_git(url)


def test_without_git_the_reason_is_said(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(SourceUnreachable, match="git cannot be started: No such file or directory"):
        catalog.pin_git("https://host/x")


def test_the_environment_of_another_git_does_not_count(
    repository: Repository, catalog: Catalog, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commit = repository.commit(MAIN)
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_TRACE"):
        monkeypatch.setenv(name, str(tmp_path / "elsewhere"))
    assert catalog.pin_git(repository.url).source["commit"] == commit
    assert not (tmp_path / "elsewhere").exists()


def test_eight_threads_take_the_same_commit(repository: Repository, catalog: Catalog, url: str) -> None:
    repository.commit(MAIN)
    with ThreadPoolExecutor(8) as pool:
        workflows = list(pool.map(lambda _: catalog.pin_git(url), range(16)))
    assert workflows == [workflows[0]] * 16
    assert len(list(catalog._snapshots._folder.iterdir())) == 1


def mirror_of(tmp_path: Path) -> Path:
    (folder,) = (tmp_path / "data/git").iterdir()
    return folder


def test_a_lock_that_a_killed_git_left_is_no_obstacle(repository: Repository, catalog: Catalog, tmp_path: Path) -> None:
    repository.commit(MAIN)
    catalog.pin_git(repository.url)
    second = repository.commit(MAIN | {"workflow/Snakefile": "# two"})
    (mirror_of(tmp_path) / "objects-40.git/shallow.lock").write_text("")
    assert catalog.pin_git(repository.url).source["commit"] == second


@pytest.mark.parametrize("damage", ["objects", "HEAD", "config"])
def test_a_damaged_copy_is_fetched_again(repository: Repository, catalog: Catalog, tmp_path: Path, damage: str) -> None:
    commit = repository.commit(MAIN)
    workflow = catalog.pin_git(repository.url)
    mirror = mirror_of(tmp_path)
    shutil.rmtree(catalog.snapshot(workflow.digest))
    shutil.rmtree(mirror / "exports")
    if damage == "objects":
        shutil.rmtree(mirror / "objects-40.git/objects/pack")
        for folder in (mirror / "objects-40.git/objects").glob("??"):
            shutil.rmtree(folder)
    elif damage == "HEAD":
        (mirror / "objects-40.git/HEAD").write_text("")
    else:
        (mirror / "objects-40.git/config").write_text("[core\n")
    assert catalog.pin_git(repository.url, commit).digest == workflow.digest


def test_the_folder_of_a_repository_may_be_removed(repository: Repository, catalog: Catalog, tmp_path: Path) -> None:
    repository.commit(MAIN)
    workflow = catalog.pin_git(repository.url)
    shutil.rmtree(tmp_path / "data/git")
    assert catalog.pin_git(repository.url) == workflow


def test_a_folder_that_cannot_be_written_is_named(repository: Repository, catalog: Catalog, tmp_path: Path) -> None:
    repository.commit(MAIN)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/git").write_text("")
    with pytest.raises(Unavailable, match=r"data/git.* cannot be used to fetch into: .*; make room"):
        catalog.pin_git(repository.url)


def test_a_repository_of_sha256_is_taken(repository: Repository, catalog: Catalog, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", "--bare", "--object-format=sha256", str(repository.path)], check=True)
    commit = repository.commit(MAIN, branch="main")
    assert len(commit) == 64
    repository.git("symbolic-ref", "HEAD", "refs/heads/main")
    assert catalog.pin_git(repository.url).source["commit"] == commit
    assert catalog.pin_git(repository.url, commit).source["commit"] == commit


def test_only_what_is_needed_is_fetched(repository: Repository, catalog: Catalog, tmp_path: Path) -> None:
    first = repository.commit(MAIN)
    repository.commit(MAIN | {"workflow/Snakefile": "# two"})
    catalog.pin_git(repository.url)
    mirror = mirror_of(tmp_path) / "objects-40.git"
    found = subprocess.run(["git", "--git-dir", mirror, "cat-file", "-e", first], capture_output=True, check=False)
    assert found.returncode != 0


def test_hostile_addresses_start_nothing(catalog: Catalog, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    for url in (
        f"--upload-pack=touch {mark}",
        f"ext::sh -c touch% {mark}",
        f"ssh://-oProxyCommand=touch${{IFS}}{mark}/x",
    ):
        with pytest.raises(Invalid):
            catalog.pin_git(url)
    with pytest.raises(Invalid):
        catalog.pin_git("https://host/x", f"--upload-pack=touch {mark}")
    assert not mark.exists()


def test_ext_is_never_a_protocol(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    catalog = new_catalog(tmp_path, git_url_prefixes=["ext::"])
    with pytest.raises(SourceUnreachable, match="transport 'ext' not allowed"):
        catalog.pin_git(f"ext::touch%20{mark}")
    assert not mark.exists()
