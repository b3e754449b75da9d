"""Where in which git repository a workflow is, checked before anything reaches git."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from snakeway.errors import Invalid

_MAX_URL = 2048
_MAX_REF = 255
_MAX_PATH = 1024
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_BLANK = re.compile(r"[\s\x00-\x1f\x7f\\]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_USERINFO = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)[^/\s'\"]*@")
_HTTP_USERINFO = re.compile(r"https?://([^/]*)@")
_PASSWORD = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*://[^/@:]*):[^/]*@")
# The rules of git-check-ref-format(1) for a name that need not have a slash, and no leading dash.
_NO_REF = re.compile(
    r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|^[-/]|/$|\.$|^@$|(?:^|/)\.|\.lock(?:/|$)",
)


@dataclass(frozen=True, slots=True)
class GitSource:
    """A checked address of a workflow. ``url`` may contain a password; ``shown`` may not."""

    url: str
    ref: str
    path: str
    restricted: bool  # the administrator named hosts, not only protocols

    @property
    def commit(self) -> str | None:
        """The ref as a full commit id, if it is one."""
        return self.ref.lower() if _COMMIT.fullmatch(self.ref.lower()) else None

    @property
    def shown(self) -> str:
        """The URL without credentials, as git gets it, and as it is stored and shown.

        The user of ssh stays: it is part of the address.
        """
        if self.url.startswith("ssh://"):
            return _PASSWORD.sub(r"\1@", self.url)
        return without_credentials(self.url)

    @property
    def credentials(self) -> tuple[str, str | None] | None:
        """User and password of an HTTP URL."""
        found = _HTTP_USERINFO.match(self.url)
        if found is None:
            return None
        user, colon, password = found[1].partition(":")
        return unquote(user), unquote(password) if colon else None

    @property
    def name(self) -> str:
        """A name for the workflow: the last part of the path, or of the repository's."""
        last = (self.path or self.url.rstrip("/").removesuffix(".git")).rpartition("/")[2].rpartition(":")[2]
        return re.sub(r"[^A-Za-z0-9._-]+", "-", unquote(last)).lstrip(".-")[:200] or "workflow"

    def record(self, commit: str) -> dict[str, Any]:
        """Return the ``source`` of a workflow that was taken from here at a commit."""
        return {"kind": "git", "url": self.shown, "ref": self.ref, "commit": commit, "path": self.path}


def without_credentials(text: str) -> str:
    """Remove user and password from every URL in a text."""
    return _USERINFO.sub(r"\1", text)


def git_source(url: str, ref: str, path: str, prefixes: Sequence[str]) -> GitSource:
    """Check an address; ``prefixes`` are the beginnings that URLs may have.

    Raises Invalid, with ``field`` workflow.url, workflow.ref or workflow.path.
    """
    matching = [prefix for prefix in prefixes if _begins(url, prefix)]
    if not matching:
        allowed = ", ".join(prefixes) or "nothing: this server takes no repositories"
        raise _invalid(
            "url", f"{_show(url)} is not a git URL that this server fetches; allowed beginnings are {allowed}"
        )
    if len(url) > _MAX_URL or _BLANK.search(url):
        raise _invalid("url", f"{_show(url)} is too long for a git URL or contains spaces or backslashes; encode them")
    authority = _SCHEME.sub("", url).partition("/")[0]
    host = authority.rpartition("@")[2]
    if _CONTROL.search(unquote(authority)):
        raise _invalid("url", f"{_show(url)} has control characters in its user or host; give the plain address")
    if host.startswith("-") or ".." in map(unquote, url.split("/")):
        raise _invalid(
            "url", f"{_show(url)} has a host that begins with '-' or a '..' in its path; give the plain address"
        )
    if not ref or len(ref) > _MAX_REF or _NO_REF.search(ref):
        raise _invalid("ref", f"{_show(ref)} cannot be a git ref; give a branch, a tag, a full commit id, or HEAD")
    return GitSource(url, ref, _checked_path(path), all(not prefix.endswith("://") for prefix in matching))


def _begins(url: str, prefix: str) -> bool:
    """Whether ``url`` begins with ``prefix``; one that ends in a host's name must be followed by the host's end.

    Otherwise https://git.example.org would allow https://git.example.org.elsewhere.net and, with a user's name in
    front of the host, https://git.example.org@elsewhere.net.
    """
    if not prefix or url.startswith("-") or not url.startswith(prefix):
        return False
    scheme = _SCHEME.match(prefix)
    ends_in_host = scheme is not None and scheme.end() < len(prefix) and "/" not in prefix[scheme.end() :]
    return not ends_in_host or url[len(prefix) : len(prefix) + 1] in ("", "/")


def _checked_path(path: str) -> str:
    path = path.removesuffix("/")
    parts = path.split("/") if path else []
    if (
        len(path) > _MAX_PATH
        or {"", ".", "..", ".git"}.intersection(map(str.lower, parts))
        or _BLANK.search(path.replace(" ", ""))
    ):
        raise _invalid(
            "path", f"{_show(path)} is not a folder inside a repository; give it as folder/folder, without '..'"
        )
    return path


def _show(text: str) -> str:
    shown = without_credentials(text)
    return repr(shown if len(shown) <= 200 else shown[:200] + "…")


def _invalid(field: str, text: str) -> Invalid:
    return Invalid(text, field=f"workflow.{field}")
