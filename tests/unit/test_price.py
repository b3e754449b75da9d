"""Prices, what usage costs at them, and how amounts are written."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakeway.model.price import Cost, Price, PriceKind, Prices, cost, gib_hours, shown, vcpu_hours
from snakeway.model.usage import Share, Usage

HOUR = Usage(cpu_ms=3_600_000, mem_mib_ms=3_600_000 * 1024, jobs=1)  # one CPU and one GiB for an hour
CPU, GIB = Decimal("0.04"), Decimal("0.005")


def price(target: str = "slurm", **members: Any) -> Price:
    values: dict[str, Any] = {"kind": PriceKind.CLUSTER, "vcpu_hour": CPU, "gib_hour": GIB}
    return Price(target, **(values | members))


def share(target: str = "slurm", queue: str = "", month: str = "2026-03") -> Share:
    return Share("fit", month, target, queue)


TABLE = Prices(
    "EUR",
    (
        price(vcpu_hour=Decimal(1)),
        price(vcpu_hour=Decimal(2), since="2026-03"),
        price(vcpu_hour=Decimal(3), since="2026-06"),
        price(vcpu_hour=Decimal(4), queue="gpu", since="2026-04"),
        price("cloud", kind=PriceKind.SPOT, vcpu_hour=Decimal(5), since="2026-03"),
    ),
)


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (share(month="2025-01"), 1),
        (share(month="2026-02"), 1),
        (share(month="2026-03"), 2),
        (share(month="2026-05"), 2),
        (share(month="2030-01"), 3),
        (share(queue="gpu", month="2026-03"), 2),  # its own price began later
        (share(queue="gpu", month="2026-07"), 4),  # the newer price of the whole target is less precise
        (share(queue="other", month="2026-07"), 3),
        (share("cloud", month="2026-02"), None),
        (share("cloud", month="2026-03"), 5),
        (share("elsewhere"), None),
    ],
)
def test_the_price_that_counts(of: Share, expected: int | None) -> None:
    found = TABLE.at(of)
    assert (found.vcpu_hour if found else None) == expected


def test_processors_and_memory_are_priced() -> None:
    found = cost({share(): HOUR, share(month="2026-04"): HOUR}, Prices("EUR", (price(),)))
    assert found.amount == Fraction(9, 100)
    assert (found.kinds, found.missing, found.usage.jobs) == ((PriceKind.CLUSTER,), (), 2)
    assert (vcpu_hours(HOUR), gib_hours(HOUR)) == (1.0, 1.0)


def test_what_has_no_price_is_named_and_left_out() -> None:
    prices = Prices("EUR", (price(),))
    both = cost({share(): HOUR, share("cloud", "spot"): HOUR}, prices)
    assert (both.amount, both.usage.jobs) == (Fraction(45, 1000), 2)
    assert both.missing == ("the prices have none for target cloud, queue spot in 2026-03",)
    none = cost({share("cloud"): HOUR}, prices)
    assert (none.amount, none.missing) == (None, ("the prices have none for target cloud in 2026-03",))
    assert cost({share("cloud"): HOUR}, Prices(why_none="no file")) == Cost(HOUR, None, (), ("no file",))


def test_nothing_used_costs_nothing() -> None:
    assert cost({}, Prices("EUR")).amount == 0
    assert cost({}, Prices(why_none="no file")).amount is None


def test_what_is_not_known_of_jobs_is_said() -> None:
    known = Usage(cpu_ms=1, jobs=4, jobs_unknown=1, jobs_without_memory=2)
    assert cost({share(): known}, Prices("EUR", (price(),))).missing == (
        "the time of 1 job is not known",
        "the memory of 2 jobs is not known: neither given nor asked for",
    )


def test_only_so_many_reasons_are_told() -> None:
    found = cost({share(f"t{number:03}"): HOUR for number in range(100)}, Prices("EUR", (price(),)))
    assert (len(found.missing), found.missing[-1]) == (21, "and 80 more")


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (Fraction(0), "0.00"),
        (Fraction(1, 10), "0.10"),
        (Fraction(1, 3), "0.333333"),
        (Fraction(2, 3), "0.666667"),
        (Fraction(1, 10**7), "0.00"),
        (Fraction(15, 10**7), "0.000002"),
        (Fraction(12345678), "12345678.00"),
        (Fraction("0.1") + Fraction("0.2"), "0.30"),
    ],
)
def test_amounts_have_no_noise(amount: Fraction, text: str) -> None:
    assert shown(amount) == text


amounts = st.integers(0, 10**15)
usages = st.builds(Usage, cpu_ms=amounts, mem_mib_ms=amounts, jobs=st.integers(0, 100))
decimals = st.decimals(0, 1000, places=6)


@given(st.lists(usages, max_size=8), decimals, decimals)
def test_the_cost_of_a_sum_is_the_sum_of_the_costs(parts: list[Usage], cpu: Decimal, gib: Decimal) -> None:
    prices = Prices("EUR", (price(vcpu_hour=cpu, gib_hour=gib),))
    alone = [cost({share(): part}, prices).amount for part in parts]
    together = cost([(share(month=f"20{place:02}-01"), part) for place, part in enumerate(parts, 10)], prices)
    assert together.amount == sum((amount for amount in alone if amount is not None), Fraction(0))


@given(st.fractions(0, 10**12))
def test_an_amount_is_written_to_the_nearest_millionth(amount: Fraction) -> None:
    text = shown(amount)
    assert abs(Fraction(text) - amount) <= Fraction(1, 2 * 10**6)
    assert 2 <= len(text.partition(".")[2]) <= 6
