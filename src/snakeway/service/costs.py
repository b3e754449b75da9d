"""What runs cost: usage from the database, at the prices of the settings' file."""

from dataclasses import dataclass, replace

from snakeway.catalog.prices import PriceFile
from snakeway.errors import AttemptNotFound, Invalid
from snakeway.model.attempt import ENDED
from snakeway.model.price import Cost, cost
from snakeway.model.usage import GroupBy, Share, Usage
from snakeway.model.user import User
from snakeway.rows import now
from snakeway.service.access import find
from snakeway.store import Store, attempts, runs, usage
from snakeway.store.usage import UsageFilter

MOST_MONTHS = 36  # of one question


@dataclass(frozen=True, slots=True)
class RunCost:
    """What a run cost. ``provisional``: something of it runs still, or a scheduler is still asked about its times."""

    total: Cost
    rules: list[tuple[str, Cost]]
    attempts: list[tuple[int, Cost]]
    provisional: bool
    currency: str | None


@dataclass(frozen=True, slots=True)
class CostPage:
    """A page of costs by what was asked for, and what all of it costs; ``active_runs`` are not in it yet."""

    items: list[tuple[str, Cost]]
    next: str | None
    total: Cost
    active_runs: int
    currency: str | None


class Costs:
    """Everything about cost that only looks."""

    def __init__(self, store: Store, prices: PriceFile) -> None:
        self._store = store
        self._prices = prices

    def run(self, user: User, run_id: str, attempt: int | None) -> RunCost:
        """Return what a run, or one attempt of it, cost; raises RunNotFound, AttemptNotFound.

        Ended attempts are read from their sums, those under way from their jobs.
        """
        at = now()
        with self._store.read() as tx:
            find(tx, user, run_id)
            rows = [row for row in attempts.of_run(tx, run_id) if attempt in (None, row.number)]
            stored = usage.of_run(tx, run_id)
            shares = {
                row.number: stored.get(row.id, {}) if row.state in ENDED else usage.of_attempt(tx, row, at)
                for row in rows
            }
        if attempt is not None and not rows:
            raise AttemptNotFound(f"run {run_id} has no attempt {attempt}")
        prices = self._prices.read_or_say()
        every = [pair for each in shares.values() for pair in each.items()]
        rules: dict[str, list[tuple[Share, Usage]]] = {}
        for share, used in every:
            rules.setdefault(share.rule, []).append((share, used))
        return RunCost(
            total=cost(every, prices),
            rules=[(rule, cost(each, prices)) for rule, each in sorted(rules.items())],
            attempts=[(number, cost(each, prices)) for number, each in sorted(shares.items())],
            provisional=any(row.state not in ENDED or row.books_until is not None for row in rows),
            currency=prices.currency,
        )

    def summed(self, user: User, where: UsageFilter, by: GroupBy, cursor: str | None, limit: int) -> CostPage:
        """Return what ended attempts cost, by ``by``: of all users for administrators, else one's own.

        Raises Invalid when the months are too many or in the wrong order, and InvalidCursor.
        """
        _check_months(where)
        where = replace(where, owner=where.owner if user.admin else user.id)
        with self._store.read() as tx:
            page = usage.groups(tx, where, by, cursor, limit)
            total = usage.total(tx, where)
            active = runs.count_active(tx, where.owner)
        prices = self._prices.read_or_say()
        items = [(key, cost(shares, prices)) for key, shares in page.items]
        return CostPage(items, page.next, cost(total, prices), active, prices.currency)


def _check_months(where: UsageFilter) -> None:
    first, last = (int(month[:4]) * 12 + int(month[5:]) for month in (where.since, where.until))
    if last < first:
        raise Invalid(f"until: {where.until} is before {where.since}", field="until")
    if last - first >= MOST_MONTHS:
        raise Invalid(f"since: at most {MOST_MONTHS} months are summed at a time", field="since")
