"""Fetches workflows from git repositories.

Each repository has a folder of its own, named by the hash of its URL, credentials included, so that nobody reads with
a stranger's permission:

    lock                   locked (flock) by the process that runs git here, and by git itself
    objects-40.git/        bare repository with the commits that were asked for, without their history
    exports/               digests of what was exported already, by commit and path

Everything in it can be fetched again, and the folder may be removed whenever no lock is held. Credentials are handed
to git in its environment: command lines can be read by every user of the machine.
"""

import difflib
import fcntl
import hashlib
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from snakeway.catalog.gitcommand import Git, GitError
from snakeway.catalog.gitexport import export
from snakeway.catalog.gitsource import GitSource
from snakeway.errors import SourceUnreachable, WorkflowNotFound

_OURS = "refs/snakeway"  # refs/snakeway/<object id> exists when the object and what it needs were fetched whole
_WHOLE_HISTORY = "2147483647"  # the depth that git takes for infinite: INFINITE_DEPTH in its shallow.h
# What servers say that do not give out single commits (older protocols), and what git says to those without shallow.
_NOT_GIVEN = re.compile(r"not our ref|unadvertised object|shallow|find remote ref|did not send all", re.IGNORECASE)
_FETCH_OPTIONS = ("--quiet", "--no-tags", "--no-prune", "--no-recurse-submodules", "--no-write-fetch-head")
_LOCK_POLL_S = 0.05


class Mirror:
    """What was fetched of one repository. An object is used by one thread; any number of processes may have one."""

    def __init__(self, folder: Path, source: GitSource, timeout_s: float) -> None:
        self._folder = folder / hashlib.sha256(source.url.encode()).hexdigest()
        self._source = source
        self._timeout_s = timeout_s
        self._lock = -1

    def exported(self, commit: str) -> str | None:
        """Return the digest of the source's path at a commit, if it was exported before. Needs no lock."""
        try:
            return self._export_record(commit).read_text()
        except FileNotFoundError:
            return None

    def record_export(self, commit: str, digest: str) -> None:
        """Remember a digest. A commit never changes, so it holds for ever."""
        record = self._export_record(commit)
        record.parent.mkdir(exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=record.parent, prefix=".new-", delete=False) as file:
            file.write(digest)
        Path(file.name).replace(record)

    @contextmanager
    def locked(self) -> Iterator[Self]:
        """Keep everybody else out. Raises SourceUnreachable when others take longer than a git command may."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self._folder / "lock").open("ab") as lock:
            deadline = time.monotonic() + self._timeout_s
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise self._unreachable("another request is still fetching it") from None
                    time.sleep(_LOCK_POLL_S)
            self._lock = lock.fileno()
            yield self

    def resolve(self) -> str:
        """Return the commit that the source's ref stands for, fetched if it was not here.

        Raises SourceUnreachable, and WorkflowNotFound if the repository has no such ref.
        """
        try:
            wanted = self._source.commit
            if wanted is not None:
                self._repaired(wanted)
                return wanted
            advertised = self._advertised()
            self._repaired(advertised)
            return self._commit_of(advertised)
        except GitError as error:
            raise self._unreachable(str(error)) from None

    def export(self, commit: str, destination: Path) -> None:
        """Write the files of the source's path at a commit that :meth:`resolve` returned.

        Raises WorkflowNotFound, InvalidWorkflow, SourceUnreachable.
        """
        try:
            try:
                export(self._git(commit), commit, self._source, destination)
            except GitError:  # nothing was asked of the network, so our copy is damaged
                self._forget(commit)
                self._fetch(commit)
                shutil.rmtree(destination)
                destination.mkdir()
                export(self._git(commit), commit, self._source, destination)
        except GitError as error:
            raise self._unreachable(str(error)) from None

    def _repaired(self, oid: str) -> None:
        """Fetch an object; once more into a new repository if the old one seems damaged."""
        try:
            self._fetch(oid)
        except GitError as error:
            if not error.is_damage:
                raise
            self._forget(oid)
            self._fetch(oid)

    def _fetch(self, oid: str) -> None:
        git = self._git(oid)
        if git.repository.is_dir() and self._has(git, oid):
            return
        kind = "sha1" if len(oid) == 40 else "sha256"
        git.run("init", "--quiet", "--bare", "--template=", f"--object-format={kind}")
        everything = [f"+refs/heads/*:{_OURS}-heads/*", f"+refs/tags/*:{_OURS}-tags/*"]
        # From the least to the most; a server that does not give out a single commit is asked for all there is.
        for depth, refs in (("1", [f"+{oid}:{_OURS}/{oid}"]), (_WHOLE_HISTORY, everything), (None, everything)):
            shallow = [] if depth is None else [f"--depth={depth}"]
            try:
                git.run("fetch", *_FETCH_OPTIONS, *shallow, "origin", *refs)
            except GitError as error:
                if depth is None or not _NOT_GIVEN.search(str(error)):
                    raise
                continue
            if self._is_there(git, oid):
                # Crash before this: the next request fetches again, and git finds that it has everything.
                git.run("update-ref", f"{_OURS}/{oid}", oid)
                return
        raise WorkflowNotFound(
            f"{self._source.shown} has no commit {oid} in a branch or tag; check the id, or push the commit"
        )

    def _advertised(self) -> str:
        """Return the object id that the server has for the ref, found by the rules of gitrevisions(7)."""
        ref = self._source.ref
        names = ["HEAD"] if ref == "HEAD" else [ref, f"refs/{ref}", f"refs/tags/{ref}", f"refs/heads/{ref}"]
        advertised = self._list([name for name in names if name == "HEAD" or name.startswith("refs/")])
        for name in names:
            if name in advertised:
                return advertised[name]
        if ref == "HEAD":
            raise WorkflowNotFound(
                f"{self._source.shown} has no default branch; name a branch, a tag or a full commit id"
            )
        raise WorkflowNotFound(f"{self._source.shown} has no branch or tag {ref!r}; {self._advice(ref)}")

    def _advice(self, ref: str) -> str:
        if re.fullmatch(r"[0-9a-f]{4,63}", ref):
            return "a commit must be named by its full id"
        names = [name.split("/", 2)[2] for name in self._list(["refs/heads/*", "refs/tags/*"]) if name.count("/") > 1]
        close = difflib.get_close_matches(ref, names)
        if close:
            return f"did you mean {' or '.join(map(repr, close))}?"
        return "name one that is there, or a full commit id"

    def _list(self, names: list[str]) -> dict[str, str]:
        # Names match at their end as well: refs/heads/x finds refs/y/refs/heads/x, which callers leave aside.
        output = self._git("").run("ls-remote", "--quiet", "origin", *names).decode(errors="replace")
        lines = (line.split("\t", 1) for line in output.splitlines() if "\t" in line)
        return {name: oid for oid, name in lines if not name.endswith("^{}")}

    def _commit_of(self, oid: str) -> str:
        """Return the commit that an annotated tag points to, or the commit itself."""
        git = self._git(oid)
        try:
            commit = git.run("rev-parse", "--verify", "--quiet", f"{oid}^{{commit}}").decode().strip()
        except GitError:
            source = self._source
            raise WorkflowNotFound(f"{source.ref!r} of {source.shown} is not a commit; name another ref") from None
        if commit != oid:
            git.run("update-ref", f"{_OURS}/{commit}", commit)
        return commit

    def _has(self, git: Git, oid: str) -> bool:
        return self._succeeds(git, "rev-parse", "--verify", "--quiet", f"{_OURS}/{oid}")

    def _is_there(self, git: Git, oid: str) -> bool:
        return self._succeeds(git, "cat-file", "-e", oid)

    @staticmethod
    def _succeeds(git: Git, *arguments: str) -> bool:
        try:
            git.run(*arguments)
        except GitError:
            return False
        return True

    def _git(self, oid: str) -> Git:
        """Return git in the repository for object ids of this length: one cannot hold both kinds."""
        return Git(self._folder / f"objects-{len(oid)}.git", self._source, self._timeout_s, self._lock)

    def _forget(self, oid: str) -> None:
        shutil.rmtree(self._git(oid).repository, ignore_errors=True)

    def _export_record(self, commit: str) -> Path:
        return self._folder / "exports" / hashlib.sha256(f"{commit}\0{self._source.path}".encode()).hexdigest()

    def _unreachable(self, reason: str) -> SourceUnreachable:
        return SourceUnreachable(
            f"{self._source.shown} cannot be fetched: {reason}; check the address and that the server may read it"
        )
