"""Names of workflows and targets: they are folder names, and parts of URLs and command lines.

Hidden folders are none, and what begins with a dash could be taken for an option. Blanks and other signs are fine
inside a name; what cannot be seen is not, because nobody could type it again.
"""

import difflib
import re
from collections.abc import Sequence
from pathlib import Path

_NAME = re.compile(r"(?![.\-\s])[^/\\]{1,200}(?<!\s)")
_LISTED = 20
_FOLDERS = {"workflow": "WORKFLOWS", "target": "PROFILES"}


def is_name(text: str) -> bool:
    """Whether ``text`` can name a workflow or a target."""
    return _NAME.fullmatch(text) is not None and text.isprintable()


def not_found(noun: str, name: str, folder: Path, names: Sequence[str]) -> str:
    """Return the message for a name that is not there: what is like it, what there is, where it was looked for."""
    missing = f"there is no {noun} {name[:100]!r} in {folder}"
    close = difflib.get_close_matches(name[:200], names)
    if close:
        return f"{missing}; did you mean {' or '.join(map(repr, close))}?"
    if not names:
        return f"{missing}; there is none at all yet. SNAKEWAY_{_FOLDERS.get(noun, '')}_DIR names the folder"
    more = ", …" if len(names) > _LISTED else ""
    return f"{missing}; there {'are' if len(names) > 1 else 'is'} {', '.join(names[:_LISTED])}{more}"
