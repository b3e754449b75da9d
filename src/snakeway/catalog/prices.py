"""The file of prices: what an hour of a processor and of a GiB costs on each target."""

import re
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn

from snakeway.catalog import documents
from snakeway.errors import Invalid
from snakeway.model.price import Price, PriceKind, Prices

NO_FILE = "there are no prices: the server's setting prices_file names none"

_MONTH = re.compile(r"[1-9]\d{3}-(0[1-9]|1[0-2])", re.ASCII)
_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)
_NAME_CHARACTERS = 255
_MOST_ENTRIES = 1000
_HIGHEST = Decimal(1_000_000)
_NEEDED = {"target", "kind", "vcpu_hour", "gib_hour"}
_ALLOWED = _NEEDED | {"queue", "from"}

_At = tuple[str | int, ...]


class PriceFile:
    """The prices in a file; edits are seen at the next call. Safe to share between threads."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._known: tuple[str, Prices] | None = None  # with the text it was read from

    def read(self) -> Prices:
        """Return the prices; empty ones where no file is named. Raises Invalid, naming file, line and field."""
        if self._path is None:
            return Prices(why_none=NO_FILE)
        folder, name = self._path.parent, self._path.name
        text = documents.read_text(folder, name, Invalid)
        known = self._known
        if known is not None and known[0] == text:
            return known[1]
        prices = _Reading(folder, name).prices(documents.read(folder, name, Invalid))
        if documents.read_text(folder, name, Invalid) == text:  # otherwise it was edited while it was read
            self._known = text, prices
        return prices

    def read_or_say(self) -> Prices:
        """Return the prices; if the file cannot be used, empty ones that say why: usage is shown all the same."""
        try:
            return self.read()
        except Invalid as problem:
            return Prices(why_none=f"the server's prices cannot be used: {problem.detail}")


class _Reading:
    """One reading of the file."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name

    def prices(self, data: Any) -> Prices:
        """Return what the file says; raises Invalid."""
        top = self._mapping(data, (), {"currency", "prices"}, {"currency", "prices"})
        currency, entries = top["currency"], top["prices"]
        if not isinstance(currency, str) or not _CURRENCY.fullmatch(currency):
            self._fail(("currency",), "a currency has three capital letters, such as EUR")
        if not isinstance(entries, list):
            self._fail(("prices",), "it is a list of entries")
        if len(entries) > _MOST_ENTRIES:
            self._fail(("prices",), f"there are more than {_MOST_ENTRIES} entries")
        found: dict[tuple[str, str, str], Price] = {}
        for number, entry in enumerate(entries):
            price = self._entry(entry, ("prices", number))
            key = (price.target, price.queue, price.since)
            if key in found:
                self._fail(("prices", number), "an entry before it has the same target, queue and from; remove one")
            found[key] = price
        return Prices(currency, tuple(found.values()))

    def _entry(self, entry: Any, at: _At) -> Price:
        told = self._mapping(entry, at, _NEEDED, _ALLOWED)
        since = told.get("from", "")
        if since and not (isinstance(since, str) and _MONTH.fullmatch(since)):
            self._fail((*at, "from"), "prices change at the beginning of a month: write it as 2026-03")
        kinds = [kind.value for kind in PriceKind]
        if told["kind"] not in kinds:
            self._fail((*at, "kind"), f"it is one of {', '.join(kinds)}")
        return Price(
            self._text(told["target"], (*at, "target")),
            PriceKind(told["kind"]),
            self._amount(told["vcpu_hour"], (*at, "vcpu_hour")),
            self._amount(told["gib_hour"], (*at, "gib_hour")),
            self._text(told["queue"], (*at, "queue")) if "queue" in told else "",
            since,
        )

    def _mapping(self, data: Any, at: _At, needed: set[str], allowed: set[str]) -> dict[str, Any]:
        if not isinstance(data, dict):
            self._fail(at, f"it has lines KEY: VALUE with the keys {', '.join(sorted(allowed))}")
        for key in data:
            if key not in allowed:
                self._fail((*at, key), f"it is not known; there are {', '.join(sorted(allowed))}")
        for key in sorted(needed - data.keys()):
            self._fail(at, f"it lacks {key}")
        return data

    def _text(self, value: Any, at: _At) -> str:
        if not isinstance(value, str) or not 0 < len(value) <= _NAME_CHARACTERS:
            self._fail(at, f"a name is a text of at most {_NAME_CHARACTERS} characters")
        return value

    def _amount(self, value: Any, at: _At) -> Decimal:
        # The shortest decimal number that means the same float is the one that was written.
        amount = None if isinstance(value, bool) or not isinstance(value, int | float) else Decimal(str(value))
        if amount is None or not 0 <= amount <= _HIGHEST:
            self._fail(at, f"a price is a number from 0 to {_HIGHEST}")
        return amount

    def _fail(self, at: _At, reason: str) -> NoReturn:
        place = documents.where(self._name, documents.line_of(self._folder, self._name, at))
        field = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in at).lstrip(".")
        raise Invalid(f"{place}: {f'{field}: ' if field else ''}{reason}; correct the file", field="prices_file")
