"""Prices of processors and memory, and what usage costs at them: an estimate in fractions, rounded when it is shown."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

from snakeway.model.usage import Share, Usage

# What every amount is, wherever it is shown.
BASIS = (
    "An estimate, not a bill: processors and memory that jobs were given, or else asked for, times the seconds from "
    "their start to their end, at the prices of the settings."
)
MS_PER_HOUR = 3_600_000
MIB_PER_GIB = 1024

_PLACES = 6  # of an amount: millionths of the currency's unit
_FEWEST_PLACES = 2
_MOST_MISSING = 20  # reasons that are told one by one


class PriceKind(StrEnum):
    """What a price is.

    ON_DEMAND  a cloud's list price for machines that are there until they are given back.
    SPOT       a cloud's price for machines that it may take away; it moves, so this is an average.
    CLUSTER    what an institution has set for its own machines.
    """

    ON_DEMAND = "on_demand"
    SPOT = "spot"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True)
class Price:
    """What one target costs, in the currency's unit; ``queue`` and ``since`` (a month) narrow it down."""

    target: str
    kind: PriceKind
    vcpu_hour: Decimal
    gib_hour: Decimal
    queue: str = ""
    since: str = ""

    def of(self, usage: Usage) -> Fraction:
        """Return what usage costs; exact."""
        cpu = Fraction(self.vcpu_hour) * Fraction(usage.cpu_ms, MS_PER_HOUR)
        return cpu + Fraction(self.gib_hour) * Fraction(usage.mem_mib_ms, MIB_PER_GIB * MS_PER_HOUR)


@dataclass(frozen=True, slots=True)
class Prices:
    """A table of prices. ``why_none`` says why it is empty, when somebody has to do something about that."""

    currency: str | None = None
    entries: tuple[Price, ...] = ()
    why_none: str | None = None

    def at(self, share: Share) -> Price | None:
        """Return the price that counts: that of the queue before that of the whole target, and the latest that began.

        A change of prices so leaves what it was before as it was: no month before ``since`` is priced anew.
        """
        begun = [entry for entry in self.entries if entry.target == share.target and entry.since <= share.month]
        for queue in dict.fromkeys((share.queue, "")):
            found = [entry for entry in begun if entry.queue == queue]
            if found:
                return max(found, key=lambda entry: entry.since)
        return None


@dataclass(frozen=True, slots=True)
class Cost:
    """What some usage comes to. ``amount`` None: nothing of it has a price; ``missing`` says what it leaves out."""

    usage: Usage
    amount: Fraction | None
    kinds: tuple[PriceKind, ...] = ()
    missing: tuple[str, ...] = field(default=())


def cost(shares: Mapping[Share, Usage] | Iterable[tuple[Share, Usage]], prices: Prices) -> Cost:
    """Price usage; pure. What has no price, or is not known, is left out of the amount and named."""
    known = list(shares.items() if isinstance(shares, Mapping) else shares)
    usage = sum((part for _, part in known), Usage())
    amount = Fraction(0)
    priced = False
    kinds: set[PriceKind] = set()
    missing: dict[str, None] = {}
    for share, part in sorted(known, key=lambda pair: pair[0]):
        price = prices.at(share)
        if price is not None:
            priced = True
            amount += price.of(part)
            kinds.add(price.kind)
        elif part != Usage():
            missing[prices.why_none or _no_price(share)] = None
    if usage.jobs_unknown:
        missing[f"the time of {_jobs(usage.jobs_unknown)} is not known"] = None
    if usage.jobs_without_memory:
        missing[f"the memory of {_jobs(usage.jobs_without_memory)} is not known: neither given nor asked for"] = None
    nothing_used = usage == Usage() and prices.why_none is None
    told = list(missing)
    if len(told) > _MOST_MISSING:
        told = [*told[:_MOST_MISSING], f"and {len(told) - _MOST_MISSING} more"]
    return Cost(usage, amount if priced or nothing_used else None, tuple(sorted(kinds)), tuple(told))


def shown(amount: Fraction) -> str:
    """Return an amount as a decimal number: rounded to millionths, without zeros behind the second place."""
    scaled = round(amount * 10**_PLACES)
    text = f"{scaled // 10**_PLACES}.{scaled % 10**_PLACES:0{_PLACES}d}"
    least = len(text) - _PLACES + _FEWEST_PLACES
    return text[:least] + text[least:].rstrip("0")


def vcpu_hours(usage: Usage) -> float:
    """Return processors times hours, to a millionth."""
    return float(round(Fraction(usage.cpu_ms, MS_PER_HOUR), 6))


def gib_hours(usage: Usage) -> float:
    """Return GiB times hours, to a millionth."""
    return float(round(Fraction(usage.mem_mib_ms, MIB_PER_GIB * MS_PER_HOUR), 6))


def _no_price(share: Share) -> str:
    queue = f", queue {share.queue}" if share.queue else ""
    return f"the prices have none for target {share.target}{queue} in {share.month}"


def _jobs(count: int) -> str:
    return f"{count} job" if count == 1 else f"{count} jobs"
