"""Which files a folder's .gitignore files leave out, decided as git decides it.

The rules are those of gitignore(5) and of git's wildmatch.c. They are written out here because the one library for
them matches whole paths, where git asks about one entry at a time on the way down; the two differ as soon as a later
line takes back what an earlier one left out, and a file that is wrongly left out makes a workflow fail.
"""

import re
import string
from dataclasses import dataclass

_SLASH = ord("/")
_ANY_BYTE = frozenset(range(1, 256))  # names have no NUL
_SPECIAL = re.compile(rb"[*?\[\\]")
_ESCAPE, _OPEN, _CLOSE, _DASH = b"\\", b"[", b"]", b"-"
_PRINTABLE = string.ascii_letters + string.digits + string.punctuation
_NAMED_SETS = {
    b"alnum": string.ascii_letters + string.digits,
    b"alpha": string.ascii_letters,
    b"blank": " \t",
    b"cntrl": "".join(map(chr, [*range(1, 32), 127])),
    b"digit": string.digits,
    b"graph": _PRINTABLE,
    b"lower": string.ascii_lowercase,
    b"print": _PRINTABLE + " ",
    b"punct": string.punctuation,
    b"space": string.whitespace,
    b"upper": string.ascii_uppercase,
    b"xdigit": string.hexdigits,
}


class _NeverMatches(Exception):
    """A pattern that git accepts and that matches nothing, such as an open bracket."""


@dataclass(frozen=True, slots=True)
class _Rule:
    excludes: bool
    only_folders: bool
    by_name: bool  # matched against the last part of the path
    pattern: re.Pattern[bytes]


class IgnoreFile:
    """The rules of one .gitignore file. Lines that git would skip are skipped."""

    def __init__(self, content: bytes) -> None:
        lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
        rules = [_rule(line.removesuffix(b"\r")) for line in lines]
        self._rules = [rule for rule in reversed(rules) if rule is not None]

    def verdict(self, path: bytes, *, folder: bool) -> bool | None:
        """Whether an entry is left out (True) or taken back (False); None when no line speaks about it.

        ``path`` is relative to the folder of the .gitignore file. Only the entry itself is looked at: the caller has
        asked about the folders above it before, and does not go down into one that is left out.
        """
        name = path.rpartition(b"/")[2]
        for rule in self._rules:
            if rule.only_folders and not folder:
                continue
            if rule.pattern.fullmatch(name if rule.by_name else path):
                return rule.excludes
        return None


def _rule(line: bytes) -> _Rule | None:
    text = _without_trailing_spaces(line)
    if not text or text.startswith(b"#"):
        return None
    excludes = not text.startswith(b"!")
    text = text if excludes else text[1:]
    only_folders = text.endswith(b"/")
    text = text[:-1] if only_folders else text
    try:
        pattern = re.compile(_translate(text.removeprefix(b"/")), re.DOTALL)
    except _NeverMatches:
        return None
    return _Rule(excludes, only_folders, b"/" not in text, pattern)


def _without_trailing_spaces(line: bytes) -> bytes:
    """Remove spaces at the end, but not one behind a backslash."""
    bare = line.rstrip(b" ")
    escapes = len(bare) - len(bare.rstrip(_ESCAPE))
    return bare + b" " if escapes % 2 and len(bare) < len(line) else bare


def _translate(pattern: bytes) -> bytes:
    """Return the regular expression of a pattern, to be matched against a whole path."""
    out = []
    at = 0
    while at < len(pattern):
        char = pattern[at : at + 1]
        if char == b"*":
            piece, at = _stars(pattern, at)
        elif char == b"?":
            piece, at = b"[^/]", at + 1
        elif char == _OPEN:
            piece, at = _bracket(pattern, at + 1)
        elif char == _ESCAPE:
            if at + 1 == len(pattern):
                raise _NeverMatches
            piece, at = re.escape(pattern[at + 1 : at + 2]), at + 2
        else:
            piece, at = re.escape(char), at + 1
        out.append(piece)
    return b"".join(out)


def _stars(pattern: bytes, start: int) -> tuple[bytes, int]:
    """Translate one or more stars. Two and more cross folders if they stand alone between slashes.

    Git compares the part before the first special character by itself and gives only the rest to wildmatch.c, so two
    stars at that place also count as standing at the beginning, which gitignore(5) does not say.
    """
    end = start
    while pattern[end : end + 1] == b"*":
        end += 1
    begins = pattern[start - 1 : start] in (b"", b"/") or not _SPECIAL.search(pattern, 0, start)
    rest = pattern[end : end + 2]
    if end - start == 1 or not begins or not (rest in (b"", b"\\/") or rest.startswith(b"/")):
        return b"[^/]*", end
    return (b"(?:.*/)?", end + 1) if rest.startswith(b"/") else (b".*", end)


def _bracket(pattern: bytes, at: int) -> tuple[bytes, int]:
    """Translate what is behind a ``[``, as wildmatch.c reads it; a slash is never matched."""
    negated = pattern[at : at + 1] in (b"!", b"^")
    at += negated
    start = at
    members: set[int] = set()
    previous: int | None = None
    while pattern[at : at + 1] != _CLOSE or at == start:
        if pattern[at : at + 2] == b"[:" and (named := _named_set(pattern, at)) is not None:
            chosen, at = named
            members |= chosen
            previous = None
        elif pattern[at : at + 1] == _DASH and previous is not None and pattern[at + 1 : at + 2] not in (b"", _CLOSE):
            last, at = _literal(pattern, at + 1)
            members |= set(range(previous, last + 1))
            previous = None
        else:
            previous, at = _literal(pattern, at)
            members.add(previous)
    allowed = (_ANY_BYTE - members if negated else members) - {_SLASH}
    if not allowed:
        raise _NeverMatches
    return b"[" + b"".join(b"\\x%02x" % byte for byte in sorted(allowed)) + b"]", at + 1


def _literal(pattern: bytes, at: int) -> tuple[int, int]:
    at += pattern[at : at + 1] == _ESCAPE
    if at >= len(pattern):
        raise _NeverMatches
    return pattern[at], at + 1


def _named_set(pattern: bytes, at: int) -> tuple[set[int], int] | None:
    """Translate ``[:name:]``; None if it is not of this form, so that the bracket is an ordinary character."""
    end = pattern.find(_CLOSE, at + 2)
    if end < 0:
        raise _NeverMatches
    if end < at + 3 or pattern[end - 1 : end] != b":":
        return None
    members = _NAMED_SETS.get(pattern[at + 2 : end - 1])
    if members is None:
        raise _NeverMatches
    return set(members.encode()), end + 1
