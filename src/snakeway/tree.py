"""The files of a workflow's folder: which count, what they contain, and one digest over all of them."""

import contextlib
import hashlib
import os
import posixpath
import stat
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from snakeway.errors import InvalidWorkflow, Unavailable
from snakeway.ignore import IgnoreFile

# Never part of a workflow, at any depth: what git, Snakemake, Snakeway and Python leave behind.
LEFT_OUT = frozenset({".git", ".snakemake", ".snakeway", "__pycache__"})
RECORDS = ".snakemake/metadata"  # but for Snakemake's records of the files that are part of it
MAX_FILES = 10_000
MAX_BYTES = 1024**3
TRIES = 5  # looks at a folder that changes meanwhile

# A file that was changed this short a time before it was read may be changed again within the same tick of the file
# system's clock, and would then look unchanged: git calls such entries racy. The coarsest clocks tick in 2 s.
_RACY_NS = 2_000_000_000

Signature = tuple[int, int, int, int, int]  # size, mtime and ctime in ns, inode, mode
Rules = tuple[tuple[int, IgnoreFile], ...]  # outermost first, each with the length of its folder's path


class TakesLonger(Exception):
    """Something was to be done at once and cannot be; nobody but the program itself sees this."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file's part in the digest: a file's SHA-256 in hex, or where a link leads."""

    kind: Literal["file", "program", "link"]  # a program is a file that its owner may execute
    content: str


Index = dict[str, Entry]  # by path relative to the folder, with "/"


def digest_of(index: Index) -> str:
    """Return the digest of a set of files: ``sha256:`` and 64 hex digits.

    Hashed are the entries in the order of their paths' bytes, each as kind, path and content, each of these three
    ended by a NUL, which can occur in none of them. Times, owners and empty folders do not count.
    """
    total = hashlib.sha256()
    for path in sorted(index, key=os.fsencode):
        entry = index[path]
        total.update(b"\0".join((entry.kind.encode(), os.fsencode(path), os.fsencode(entry.content), b"")))
    return f"sha256:{total.hexdigest()}"


def folders_of(paths: Iterable[str]) -> set[str]:
    """Return every folder that these files are in, at any depth, without the one that the paths are relative to."""
    found: set[str] = set()
    for path in paths:
        while (path := posixpath.dirname(path)) and path not in found:
            found.add(path)
    return found


def open_file(path: str | Path, folder: int | None = None) -> int:
    """Open a regular file for reading, nothing else: not through a link, and without waiting at a pipe.

    ``folder`` is the descriptor of the folder that ``path`` is relative to. Raises OSError.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileNotFoundError(f"{path} is not a file")
    return descriptor


def hash_file(descriptor: int) -> str:
    """Return the SHA-256 of an open file in hex, and close it."""
    with os.fdopen(descriptor, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Tree:
    """A folder whose digest is asked for again and again.

    What was read is remembered by each file's signature, so that asking again costs one ``lstat`` for each file.
    ``ignoring`` says whether .gitignore files below the folder count. Safe to use from several threads.
    """

    def __init__(self, root: Path, *, ignoring: bool = True) -> None:
        self.root = root
        self._ignoring = ignoring
        self._lock = threading.Lock()
        self._index: Index = {}
        self._digest = digest_of({})
        self._seen: dict[str, Signature] = {}
        self._racy: frozenset[str] = frozenset()
        self._rules: dict[str, tuple[Signature, bytes, IgnoreFile]] = {}
        self._verdicts: dict[str, bool] = {}

    def read(self, *, at_once: bool = False) -> tuple[str, Index]:
        """Return the digest and the files as they are now; the index is shared and not to be changed.

        Raises InvalidWorkflow if a file cannot be read or there are more than MAX_FILES or MAX_BYTES, Unavailable if
        files keep vanishing while they are read; TakesLonger, if it is wanted ``at_once``, when a file has to be read
        or another thread is reading.
        """
        if not self._lock.acquire(blocking=not at_once):
            raise TakesLonger
        try:
            for _ in range(TRIES):
                try:
                    self._refresh(reading=not at_once)
                except FileNotFoundError:
                    continue  # something was removed between two looks at it
                except OSError as error:
                    path = error.filename or self.root
                    raise InvalidWorkflow(f"{path} cannot be read: {error.strerror or error}; correct that") from None
                return self._digest, self._index
        finally:
            self._lock.release()
        raise Unavailable(f"the files of {self.root} keep changing; try again when they have been written")

    def _refresh(self, *, reading: bool) -> None:
        started = time.time_ns()
        if not self._racy and self._walk(str(self.root), started) == self._seen:
            return
        if not reading:
            raise TakesLonger
        # Looked at and read in one and the same folder, also when the root is a link that is being turned to another.
        root = os.path.realpath(self.root)
        seen = self._walk(root, started)
        size = sum(signature[0] for signature in seen.values())
        if size > MAX_BYTES:
            raise InvalidWorkflow(
                f"the files of {self.root} add up to {size >> 20} MiB, more than {MAX_BYTES >> 20}; name results in "
                "its .gitignore and put links in the place of large data"
            )
        stale = [path for path, signature in seen.items() if self._seen.get(path) != signature or path in self._racy]
        fresh = {path: _entry(root, path, seen[path]) for path in stale}
        index = {path: fresh.get(path) or self._index[path] for path in seen}
        self._racy = frozenset(path for path, signature in seen.items() if _is_racy(signature, started))
        if index != self._index:
            self._index, self._digest = index, digest_of(index)
        self._seen = seen

    def _walk(self, root: str, started: int) -> dict[str, Signature]:
        found: dict[str, Signature] = {}
        has_records = False
        waiting: list[tuple[str, Rules]] = [("", ())]  # folders as prefixes: empty or ended with a slash
        while waiting:
            prefix, rules = waiting.pop()
            try:
                with os.scandir(f"{root}/{prefix}") as listing:
                    entries = list(listing)
            except (FileNotFoundError, NotADirectoryError):
                continue  # it was there a moment ago
            if self._ignoring:
                rules = self._with_own_rules(entries, prefix, rules, started)
            if not prefix:
                has_records = not (rules and self._is_ignored(RECORDS.split("/")[0], rules, folder=True))
            for entry in entries:
                folder = entry.is_dir(follow_symlinks=False)
                path = prefix + entry.name
                if entry.name in LEFT_OUT or (rules and self._is_ignored(path, rules, folder=folder)):
                    continue
                if folder:
                    waiting.append((f"{path}/", rules))
                    continue
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode):  # no pipes, sockets and devices
                    found[path] = _signature_of(status)
            if len(found) > MAX_FILES:
                raise InvalidWorkflow(
                    f"{self.root} has more than {MAX_FILES} files; name those that are results in its .gitignore"
                )
        return found | _records(root, found) if has_records else found

    def _with_own_rules(self, entries: list[os.DirEntry[str]], prefix: str, rules: Rules, started: int) -> Rules:
        """Add the rules of the folder's own .gitignore file, if there is one."""
        found = next((entry for entry in entries if entry.name == ".gitignore"), None)
        known = self._rules.get(prefix)
        if found is None or not found.is_file(follow_symlinks=False):  # git does not follow a link either
            if known is not None:
                del self._rules[prefix]
                self._verdicts.clear()
            return rules
        signature = _signature_of(found.stat(follow_symlinks=False))
        if known is None or known[0] != signature or _is_racy(signature, started):
            with os.fdopen(open_file(found.path), "rb") as file:
                content = file.read()
            if known is None or known[1] != content:
                self._verdicts.clear()
                known = signature, content, IgnoreFile(content)
            self._rules[prefix] = known = (signature, content, known[2])
        return (*rules, (len(prefix), known[2]))

    def _is_ignored(self, path: str, rules: Rules, *, folder: bool) -> bool:
        key = f"{path}/" if folder else path
        verdict = self._verdicts.get(key)
        if verdict is None:
            # The .gitignore file nearest to the entry that says anything about it decides.
            opinions = (file.verdict(os.fsencode(path[length:]), folder=folder) for length, file in reversed(rules))
            verdict = self._verdicts[key] = next((opinion for opinion in opinions if opinion is not None), False)
        return verdict


def _records(root: str, found: Iterable[str]) -> dict[str, Signature]:
    """Return Snakemake's records of those files and folders: outputs that were made here and are taken along.

    Without them Snakemake would judge these by their times alone. Cost: one look per file, if there are records at all.
    """
    records: dict[str, Signature] = {}
    if Path(root, RECORDS).is_dir():
        for path in (*found, *folders_of(found)):
            # The name that Snakemake gives a record, snakemake/persistence/file.py; longer ones become folders there.
            name = urlsafe_b64encode(os.fsencode(path)).decode()
            with contextlib.suppress(OSError):
                status = os.lstat(f"{root}/{RECORDS}/{name}")
                if stat.S_ISREG(status.st_mode):
                    records[f"{RECORDS}/{name}"] = _signature_of(status)
    return records


def _is_racy(signature: Signature, started: int) -> bool:
    return max(signature[1], signature[2]) > started - _RACY_NS


def _signature_of(status: os.stat_result) -> Signature:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_mode


def _entry(root: str, path: str, signature: Signature) -> Entry:
    mode = signature[4]
    if stat.S_ISLNK(mode):
        return Entry("link", _target(root, path))
    kind: Literal["file", "program"] = "program" if mode & stat.S_IXUSR else "file"
    return Entry(kind, hash_file(open_file(f"{root}/{path}")))


def _target(root: str, path: str) -> str:
    """Return where a link leads. One that leads out of the folder is made absolute: its copies are elsewhere."""
    target = os.readlink(f"{root}/{path}")  # noqa: PTH115 - the text itself, not its normal form
    if posixpath.isabs(target):
        return target
    inside = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    return posixpath.normpath(posixpath.join(root, inside)) if inside.split("/", 1)[0] == ".." else target
