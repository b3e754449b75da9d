"""The file of prices: what it may say, and what is said of what it may not."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from snakeway.catalog.prices import NO_FILE, PriceFile
from snakeway.errors import Invalid
from snakeway.model.price import Price, PriceKind, Prices

GOOD = """\
currency: EUR
prices:
  - target: slurm
    kind: cluster
    vcpu_hour: 0.013
    gib_hour: 0.002
  - target: aws-batch
    queue: spot
    kind: spot
    vcpu_hour: 0.0125
    gib_hour: 0
    from: 2026-03
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "prices.yaml"
    path.write_text(GOOD)
    return path


def test_what_is_written_is_what_counts(file: Path) -> None:
    assert PriceFile(file).read() == Prices(
        "EUR",
        (
            Price("slurm", PriceKind.CLUSTER, Decimal("0.013"), Decimal("0.002")),
            Price("aws-batch", PriceKind.SPOT, Decimal("0.0125"), Decimal(0), "spot", "2026-03"),
        ),
    )


def test_the_example_can_be_used() -> None:
    found = PriceFile(Path(__file__).parents[2] / "profiles" / "prices.example.yaml").read()
    assert {entry.kind for entry in found.entries} == set(PriceKind)


def test_an_edit_counts_at_the_next_look(file: Path) -> None:
    prices = PriceFile(file)
    assert prices.read() is prices.read()  # not read again for nothing
    file.write_text(GOOD.replace("0.013", "0.014"))
    assert prices.read().entries[0].vcpu_hour == Decimal("0.014")
    file.write_text("nonsense")
    found = prices.read_or_say()
    assert found.entries == ()
    assert "prices.yaml, line 1" in (found.why_none or "")
    file.write_text(GOOD)
    assert prices.read_or_say().why_none is None


def test_without_a_file_there_are_no_prices(tmp_path: Path) -> None:
    assert PriceFile(None).read() == Prices(why_none=NO_FILE)
    with pytest.raises(Invalid, match=r"prices\.yaml: No such file"):
        PriceFile(tmp_path / "prices.yaml").read()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("currency: EUR\n", "", "prices.yaml, line 1: it lacks currency"),
        ("EUR", "euro", "prices.yaml, line 1: currency: a currency has three capital letters"),
        ("currency: EUR", "curency: EUR", "prices.yaml, line 1: curency: it is not known"),
        ("0.013", "cheap", "prices.yaml, line 5: prices[0].vcpu_hour: a price is a number"),
        ("0.013", "-1", "prices.yaml, line 5: prices[0].vcpu_hour: a price is a number"),
        ("0.013", "true", "prices.yaml, line 5: prices[0].vcpu_hour: a price is a number"),
        ("0.013", "1000001", "prices.yaml, line 5: prices[0].vcpu_hour: a price is a number"),
        ("0.013", ".inf", "prices.yaml, line 5: a number that is not finite"),
        ("    gib_hour: 0\n", "", "prices.yaml, line 7: prices[1]: it lacks gib_hour"),
        ("kind: spot", "kind: free", "prices.yaml, line 9: prices[1].kind: it is one of on_demand, spot, cluster"),
        ("kind: spot", "kind: []", "prices.yaml, line 9: prices[1].kind: it is one of"),
        ("2026-03", "2026-03-15", "prices.yaml, line 12: prices[1].from: prices change at the beginning of a month"),
        ("2026-03", "2026-13", "prices.yaml, line 12: prices[1].from: prices change"),
        ("target: slurm", "target: 7", "prices.yaml, line 3: prices[0].target: a name is a text"),
        ("target: slurm", "target: ''", "prices.yaml, line 3: prices[0].target: a name is a text"),
        ("queue: spot", "partition: spot", "prices.yaml, line 8: prices[1].partition: it is not known"),
        ("prices:", "prices: 1\nx:", "prices.yaml, line 3: x: it is not known"),
    ],
)
def test_a_mistake_is_told_with_file_line_and_field(old: str, new: str, said: str, file: Path) -> None:
    assert old in GOOD
    file.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(Invalid) as caught:
        PriceFile(file).read()
    assert said in caught.value.detail


def test_the_same_place_has_one_price(file: Path) -> None:
    entry = "".join(GOOD.splitlines(keepends=True)[2:6])
    file.write_text(GOOD + entry)
    with pytest.raises(Invalid, match="line 13: prices\\[2\\]: an entry before it has the same"):
        PriceFile(file).read()
    file.write_text(GOOD + entry + "    from: 2026-01\n")
    assert len(PriceFile(file).read().entries) == 3


@pytest.mark.parametrize("text", ["", "- a\n", "currency: EUR\nprices: {}\n", "currency: EUR\nprices: [1]\n", "a: ["])
def test_another_shape_is_refused(text: str, file: Path) -> None:
    file.write_text(text)
    with pytest.raises(Invalid, match=r"prices\.yaml"):
        PriceFile(file).read()


plain = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([kind.value for kind in PriceKind])
)
keys = st.sampled_from(["target", "kind", "vcpu_hour", "gib_hour", "queue", "from", "x"])
entries = st.lists(st.dictionaries(keys, plain | st.lists(plain, max_size=2)) | plain, max_size=3)
tops = st.dictionaries(st.sampled_from(["currency", "prices", "x"]), entries | plain | st.just("EUR"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("prices")


@given(tops | plain)
def test_whatever_the_file_says_it_is_prices_or_refused(folder: Path, data: Any) -> None:
    path = folder / "prices.yaml"
    path.write_text(yaml.dump(data))
    found = PriceFile(path).read_or_say()
    if found.why_none is not None:
        assert "prices.yaml" in found.why_none
    else:
        assert found.currency is not None
        assert all(0 <= entry.vcpu_hour <= 10**6 and 0 <= entry.gib_hour <= 10**6 for entry in found.entries)
