"""The catalog: which workflows and targets there are, which version of each, and what configurations they take."""

import contextlib
import tempfile
import threading
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, BinaryIO

from snakeway.catalog.bundle import unpack
from snakeway.catalog.deploy import list_for_git
from snakeway.catalog.git import Mirror
from snakeway.catalog.gitsource import GitSource, git_source
from snakeway.catalog.materialise import materialise
from snakeway.catalog.names import is_name, not_found
from snakeway.catalog.schema import Checker, check_plain, merge
from snakeway.catalog.snapshot import Snapshots, copy_tree
from snakeway.catalog.target import Target, Targets
from snakeway.catalog.workflow import SCHEMAS, SNAKEFILES, Workflow, find_snakefile, load
from snakeway.errors import Invalid, InvalidWorkflow, Unavailable, WorkflowNotFound
from snakeway.settings import Settings
from snakeway.tree import TRIES, TakesLonger, Tree

NO_WORKFLOWS = "set SNAKEWAY_WORKFLOWS_DIR; workflows from git need none"  # what to do if there are none
NO_TARGETS = "set SNAKEWAY_PROFILES_DIR to a folder with a profile in each of its subfolders"

_REMEMBERED = 256  # versions of workflows kept in memory, with their validators


class Catalog:
    """Reads workflows and targets from disk whenever it is asked, so edits count at once. Safe for several threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = settings.workflows_dir
        self._trees: dict[str, Tree] = {}
        self._live: dict[str, Workflow] = {}
        self._snapshots = Snapshots(settings.data_dir / "workflows")
        self._targets = Targets(settings.profiles_dir)
        self._stored = lru_cache(_REMEMBERED)(self._load_stored)
        self._checkers: dict[str, Checker] = {}
        self._checkers_lock = threading.Lock()

    def workflows(self) -> list[Workflow]:
        """Return the workflows by name. One that is broken is there as well, with its ``error``."""
        found = [self._look(name) for name in self._names()]
        return [workflow for workflow in found if workflow is not None]

    def workflow(self, name: str, *, at_once: bool = False) -> Workflow:
        """Return a workflow as it is now, broken or not. Raises WorkflowNotFound, and TakesLonger as :meth:`pin`."""
        workflow = self._look(name, at_once=at_once) if is_name(name) else None
        if workflow is None:
            if is_name(name) and (self._folder / name).is_dir():
                raise WorkflowNotFound(
                    f"{self._folder / name} has no Snakefile, so it is no workflow; looked for {', '.join(SNAKEFILES)}"
                )
            names = [other for other in self._names() if self._has_snakefile(other)]
            raise WorkflowNotFound(not_found("workflow", name, self._folder, names))
        return workflow

    def pin(self, name: str, *, at_once: bool = False) -> Workflow:
        """Return a workflow as it is now, and keep its files for :meth:`materialise`.

        Raises:
            WorkflowNotFound, InvalidWorkflow: it is not there, or broken.
            Unavailable: it is being edited all the time, or the snapshot cannot be written.
            TakesLonger: it is wanted ``at_once``, but files have to be read or copied, or another thread does that.

        """
        for _ in range(TRIES):
            workflow = self.workflow(name, at_once=at_once)
            if workflow.error is not None:
                raise InvalidWorkflow(f"workflow {name!r}: {workflow.error}")
            if workflow.digest in self._snapshots:
                return workflow
            if at_once:
                raise TakesLonger
            tree = self._tree(name)
            digest, index = tree.read()
            with contextlib.suppress(FileNotFoundError):
                # Edited between the look and the copy: the copy has another digest, is not kept, and we look again.
                self._snapshots.add(partial(copy_tree, tree.root, index), expected=digest)
        raise Unavailable(f"the files of workflow {name!r} keep changing; submit again when they have been written")

    def pin_git(self, url: str, ref: str = "HEAD", path: str = "") -> Workflow:
        """Return the workflow in a folder of a git repository, and keep its files for :meth:`materialise`.

        ``ref`` is a branch, a tag, HEAD or a full commit id; a commit that was taken before needs no network. ``path``
        is the workflow's folder in the repository.

        Raises:
            Invalid: the address cannot be one, or is not allowed; ``field`` says which part.
            SourceUnreachable: the repository cannot be read.
            WorkflowNotFound: it has no such ref, or no Snakefile there.
            InvalidWorkflow: what is there cannot be run.
            Unavailable: it cannot be stored.

        """
        source = git_source(url, ref, path, self._settings.git_url_prefixes)
        try:
            commit, digest = self._fetched(source)
        except OSError as error:
            place = error.filename or self._settings.data_dir / "git"
            raise Unavailable(
                f"{place} cannot be used to fetch into: {error.strerror}; make room, or make it writable"
            ) from None
        workflow = self.pinned(digest, source.name, source.record(commit))
        if workflow.error is not None:
            raise InvalidWorkflow(f"{source.shown} at {commit}: {workflow.error}")
        return workflow

    def new_archive(self) -> BinaryIO:
        """Return a file without a name for :meth:`pin_bundle`, on the disk that the workflows are kept on.

        Raises Unavailable.
        """
        folder = self._settings.data_dir / "workflows"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - the caller closes it
        except OSError as error:
            raise Unavailable(
                f"{folder} cannot be written to: {error.strerror}; make room, or make it writable"
            ) from None
        return file

    def pin_bundle(self, archive: BinaryIO, name: str) -> Workflow:
        """Return the workflow in an archive that somebody sent, and keep its files for :meth:`materialise`.

        Raises Invalid if that cannot be a workflow's name, InvalidWorkflow if the archive cannot be run, or not be
        unpacked, see :func:`bundle.unpack`; and Unavailable if it cannot be stored. Nothing of it is left then.
        """
        _check_name(name)
        return self.bundle(self._snapshots.add(partial(_unpacked, archive, name)), name)

    def bundle(self, digest: str, name: str) -> Workflow:
        """Return a workflow that was sent before. Raises Invalid, WorkflowNotFound, InvalidWorkflow."""
        _check_name(name)
        return self.pinned(digest, name, {"kind": "bundle", "name": name, "digest": digest})

    def pinned(self, digest: str, name: str, source: dict[str, Any]) -> Workflow:
        """Return the workflow of a snapshot; name and source are recorded with the run, not in the snapshot.

        Raises WorkflowNotFound if there is no such snapshot, InvalidWorkflow if somebody changed it.
        """
        self._snapshots.path(digest)
        return replace(self._stored(digest), name=name, source=source)

    def snapshot(self, digest: str) -> Path:
        """Return the folder of a stored version, which nobody may change. Raises WorkflowNotFound."""
        return self._snapshots.path(digest)

    def materialise(self, digest: str, directory: Path, *, deployable: bool = False) -> None:
        """Put the files of a stored version into a run's directory; see :func:`materialise.materialise`.

        ``deployable`` has Snakemake find all of them when it sends them elsewhere.

        Raises WorkflowNotFound, InvalidWorkflow, Invalid without git, and OSError if the directory cannot be written.
        """
        index = self._snapshots.index(digest)
        materialise(self._snapshots.path(digest), index, digest, directory)
        if deployable:
            list_for_git(directory, index)

    def validate(self, workflow: Workflow, config: dict[str, Any]) -> dict[str, Any]:
        """Return what Snakemake will see as configuration: the workflow's defaults with ``config`` over them.

        Raises InvalidConfig if ``config`` is no proper JSON or the result does not fit the workflow's schema,
        InvalidWorkflow if the workflow is broken.
        """
        if workflow.error is not None:
            raise InvalidWorkflow(f"workflow {workflow.name!r}: {workflow.error}")
        merged = merge(workflow.defaults, check_plain(config))
        if workflow.schema is not None:
            self._checker(workflow).check(merged)
        return merged

    def targets(self) -> list[Target]:
        """Return the targets by name. One that is broken is there as well, with its ``error``."""
        return self._targets.all()

    def target(self, name: str, *, at_once: bool = False) -> Target:
        """Return a target. Raises TargetNotFound, InvalidTarget, and TakesLonger as :meth:`pin`."""
        return self._targets.get(name, at_once=at_once)

    def _names(self) -> list[str]:
        try:
            return sorted(entry.name for entry in self._folder.iterdir() if is_name(entry.name))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _has_snakefile(self, name: str) -> bool:
        return any((self._folder / name / choice).is_file() for choice in SNAKEFILES)

    def _tree(self, name: str) -> Tree:
        return self._trees.setdefault(name, Tree(self._folder / name))

    def _look(self, name: str, *, at_once: bool = False) -> Workflow | None:
        if not self._has_snakefile(name):
            return None
        source = {"kind": "catalog", "name": name}
        tree = self._tree(name)
        try:
            digest, index = tree.read(at_once=at_once)
        except InvalidWorkflow as problem:
            return Workflow(name, "", "", None, {}, "", source, problem.detail)
        if find_snakefile(index) is None:
            return Workflow(name, "", digest, None, {}, "", source, "its .gitignore leaves out the Snakefile")
        known = self._live.get(name)
        if known is not None and known.digest == digest:
            return known
        if at_once:
            raise TakesLonger
        workflow = load(tree.root, digest, index, name, source)
        if tree.read()[0] == digest:  # otherwise it was edited while it was read
            self._live[name] = workflow
        return workflow

    def _load_stored(self, digest: str) -> Workflow:
        return load(self._snapshots.path(digest), digest, self._snapshots.index(digest), "", {})

    def _fetched(self, source: GitSource) -> tuple[str, str]:
        """Return the commit of a source and the digest of its snapshot, which is there when this returns."""
        mirror = Mirror(self._settings.data_dir / "git", source, self._settings.git_timeout_s)
        if source.commit is not None:
            digest = mirror.exported(source.commit)
            if digest is not None and digest in self._snapshots:
                return source.commit, digest
        with mirror.locked():
            commit = mirror.resolve()
            digest = mirror.exported(commit)
            if digest is None or digest not in self._snapshots:
                digest = self._snapshots.add(partial(_export, mirror, commit, source.shown))
                # Crash before this: the next request exports again and finds the snapshot.
                mirror.record_export(commit, digest)
        return commit, digest

    def _checker(self, workflow: Workflow) -> Checker:
        with self._checkers_lock:
            checker = self._checkers.get(workflow.digest)
            if checker is None:
                stored = workflow.digest in self._snapshots
                folder = self._snapshots.path(workflow.digest) if stored else self._folder / workflow.name
                name = next((name for name in SCHEMAS if (folder / name).is_file()), SCHEMAS[0])
                if len(self._checkers) >= _REMEMBERED:
                    self._checkers.clear()
                checker = self._checkers[workflow.digest] = Checker(workflow.schema or {}, folder, name)
        return checker


def _unpacked(archive: BinaryIO, name: str, copy: Path) -> None:
    unpack(archive, copy)
    digest, index = Tree(copy, ignoring=False).read()
    error = load(copy, digest, index, name, {}).error
    if error is not None:
        raise InvalidWorkflow(f"workflow {name!r}: {error}")


def _check_name(name: str) -> None:
    if not is_name(name):
        raise Invalid(
            f"{name!r} cannot be the name of a workflow: it has a slash, or begins with a dot, a dash or a blank",
            field="name",
        )


def _export(mirror: Mirror, commit: str, shown: str, copy: Path) -> None:
    mirror.export(commit, copy)
    if not any((copy / choice).is_file() for choice in SNAKEFILES):
        raise WorkflowNotFound(
            f"{shown} has no Snakefile at {commit} in this folder; looked for {', '.join(SNAKEFILES)}"
        )
