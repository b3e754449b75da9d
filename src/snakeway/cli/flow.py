"""Lists and objects as YAML writes them in one line: ``[Adelie, Gentoo]``, ``{seed: 1, name: a b}``.

A part of YAML that needs no package: JSON's punctuation around values that need no quotes. Where both can read a text
they read the same.
"""

import re
from collections.abc import Callable
from json import JSONDecoder
from typing import Any

_SPACE = re.compile(r"\s*")
_PLAIN = re.compile(r"[^,\[\]{}\"'#&*!|>%@`\s](?:[^,\[\]{}:#]|:(?!\s|$|[,\]}])|(?<!\s)#)*")
_SINGLE = re.compile(r"'((?:[^']|'')*)'")
_STRINGS = JSONDecoder()


class NotFlow(ValueError):
    """The text is not such a value; the message says where."""


def read(text: str, plain: Callable[[str], Any]) -> Any:
    """Read a list or an object; ``plain`` makes a value of what stands in it without quotes. Raises NotFlow."""
    reader = _Reader(text, plain)
    value = reader.value()
    if reader.next():
        raise reader.wrong("nothing may follow the closing bracket")
    return value


class _Reader:
    def __init__(self, text: str, plain: Callable[[str], Any]) -> None:
        self._text = text
        self._plain = plain
        self._at = 0

    def next(self) -> str:
        """Pass over space and return the character there; nothing at the end."""
        found = _SPACE.match(self._text, self._at)
        self._at = found.end() if found else self._at
        return self._text[self._at : self._at + 1]

    def wrong(self, what: str) -> NotFlow:
        return NotFlow(f"{what} (character {self._at + 1})")

    def value(self) -> Any:
        match self.next():
            case "[":
                return self._list()
            case "{":
                return self._object()
            case _:
                text, quoted = self._scalar()
                return text if quoted else self._plain(text)

    def _list(self) -> list[Any]:
        self._at += 1
        items = []
        while self.next() != "]":
            items.append(self.value())
            self._separator("]")
        self._at += 1
        return items

    def _object(self) -> dict[str, Any]:
        self._at += 1
        members: dict[str, Any] = {}
        while self.next() != "}":
            name, _ = self._scalar()
            if self.next() != ":":
                raise self.wrong("a ':' and a value must follow the name")
            self._at += 1
            members[name] = None if self.next() in {",", "}"} else self.value()
            self._separator("}")
        self._at += 1
        return members

    def _separator(self, closing: str) -> None:
        if self.next() == ",":
            self._at += 1
        elif self.next() != closing:
            raise self.wrong(f"a ',' or the closing '{closing}' is missing")

    def _scalar(self) -> tuple[str, bool]:
        """Return the text there, and whether it was in quotes."""
        start = self.next()
        if start == '"':
            try:
                value, self._at = _STRINGS.raw_decode(self._text, self._at)
            except ValueError as error:
                raise self.wrong("the quoted text is broken") from error
            return str(value), True
        found = (_SINGLE if start == "'" else _PLAIN).match(self._text, self._at)
        if not found:
            raise self.wrong("a value is missing, or must be in quotes")
        self._at = found.end()
        return (found[1].replace("''", "'"), True) if start == "'" else (found[0].strip(), False)
