"""Addresses and secrets of webhooks, the schedule of tries, and the signature."""

import base64
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from standardwebhooks.webhooks import Webhook as Signer

from snakeway.errors import Invalid
from snakeway.model.delivery import LONGEST_PAUSE_S, Answer, DeliveryState, judge, pause_s
from snakeway.model.run import RunState
from snakeway.model.webhook import (
    LONGEST_URL,
    MOST_OF_A_RUN,
    Subscription,
    check_run_urls,
    check_secret,
    check_url,
    is_allowed,
    shown,
)
from snakeway.settings import Settings

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_the_signature_is_that_of_the_published_example() -> None:
    at = datetime.fromtimestamp(1614265330, UTC)
    signature = Signer(SECRET).sign("msg_p5jXN8AQM9LWM0D4loKWxJek", at, '{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("states", [frozenset(), frozenset({RunState.FAILED}), frozenset(RunState)])
@pytest.mark.parametrize("state", RunState)
def test_a_subscription_wants_the_states_it_names_or_all(states: frozenset[RunState], state: RunState) -> None:
    assert Subscription("https://h/", states).wants(state) is (not states or state in states)


@pytest.mark.parametrize(
    "url",
    [
        "https://h",
        "http://127.0.0.1:8080/x",
        "https://h.example.org/a/b?c=d&e=%20",
        "http://[::1]:80/",
        "https://h_1.x/",
    ],
)
def test_addresses(url: str) -> None:
    assert check_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h.example.org/x",
        "ftp://h/",
        "file:///etc/passwd",
        "https://",
        "https:///x",
        "https://user@h/",
        "https://user:password@h/",
        "https://h\\@elsewhere/",
        "https://h/ x",
        "https://h/\nx",
        "https://h/ü",
        "https://h/#x",
        "https://h:x/",
        "https://h:99999/",
        "https://[::1/",
        "https://h%2eexample/",
        f"https://h/{'x' * LONGEST_URL}",
    ],
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_url(url)
    assert "password" not in caught.value.detail


@pytest.mark.parametrize(
    ("url", "prefix", "allowed"),
    [
        ("https://h.org/x", "https://h.org", True),
        ("https://h.org", "https://h.org/", True),
        ("https://H.org:443/x", "https://h.org/", True),
        ("https://h.org/a/b", "https://h.org/a", True),
        ("https://h.org/a/b?c", "https://h.org/a/", True),
        ("https://h.org/a?c", "https://h.org/a", True),
        ("https://h.org/ab", "https://h.org/a", False),
        ("https://h.org/a/../b", "https://h.org/a", False),
        ("https://h.org/a/%2e%2e/b", "https://h.org/a", False),
        ("https://h.org/a/%252e%252e/b", "https://h.org/a", False),
        ("https://h.org/a%2f..%2fb", "https://h.org/a", False),
        ("http://h.org/x", "https://h.org", False),
        ("https://h.org.elsewhere.net/x", "https://h.org", False),
        ("https://h.org:8443/x", "https://h.org", False),
        ("https://elsewhere.net/https://h.org/", "https://h.org", False),
    ],
)
def test_what_lies_below_a_prefix(url: str, prefix: str, allowed: bool) -> None:
    assert is_allowed(url, [prefix]) is allowed
    assert is_allowed(url, ["https://other.org/", prefix]) is allowed
    assert not is_allowed(url, [])


def test_the_webhooks_of_a_run_are_few_and_allowed() -> None:
    allowed = ["https://h.org/"]
    check_run_urls([], [])
    check_run_urls(["https://h.org/x"] * MOST_OF_A_RUN, allowed)
    for urls, prefixes, said in [
        (["https://h.org/x"] * (MOST_OF_A_RUN + 1), allowed, "at most 4"),
        (["https://h.org/x"], [], "takes no webhooks"),
        (["https://elsewhere.net/x?key=secret"], allowed, "https://elsewhere.net is not an address"),
        (["nonsense"], allowed, "http"),
    ]:
        with pytest.raises(Invalid, match=said) as caught:
            check_run_urls(urls, prefixes)
        assert caught.value.field == "webhooks"
        assert "secret" not in caught.value.detail


def test_what_is_shown_of_an_address() -> None:
    assert shown("https://h.org:1/T0/B0?key=x") == "https://h.org:1"
    assert shown("https://h.org:1/T0/B0?key=x", whole=True) == "https://h.org:1/T0/B0"


@pytest.mark.parametrize(("length", "good"), [(23, False), (24, True), (32, True), (64, True), (65, False)])
def test_secrets_have_the_length_that_the_specification_asks_for(length: int, good: bool) -> None:
    secret = f"whsec_{base64.b64encode(bytes(range(length))).decode()}"
    if good:
        assert check_secret(secret) == secret
    else:
        with pytest.raises(Invalid):
            check_secret(secret)


@pytest.mark.parametrize("secret", ["", "whsec_", "hunter2hunter2", SECRET.removeprefix("whsec_"), "whsec_%%%%"])
def test_what_is_no_secret_is_not_repeated(secret: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_secret(secret)
    assert "hunter2" not in caught.value.detail


@pytest.mark.parametrize("status", [None, *range(200, 600, 7), 204, 299, 300, 302, 410, 429])
@pytest.mark.parametrize("tries", [1, 2, 3, 4])
def test_how_a_try_is_judged(status: int | None, tries: int) -> None:
    if status is not None and 200 <= status < 300:
        expected = DeliveryState.DELIVERED
    elif tries >= 3 or status == 410:
        expected = DeliveryState.FAILED
    else:
        expected = DeliveryState.PENDING
    assert judge(Answer(status), tries, 3) is expected


def test_pauses_grow_by_four_up_to_six_hours() -> None:
    pauses = [pause_s(tries, 5, 0.5) for tries in range(1, 12)]
    assert pauses[:4] == [5, 20, 80, 320]
    assert pauses[-1] == LONGEST_PAUSE_S
    assert all(before <= after for before, after in pairwise(pauses))


@given(st.integers(1, 10**6), st.floats(0.001, 3600), st.floats(0, 1), st.none() | st.floats(0, 1e12))
def test_a_pause_is_bounded(tries: int, first_s: float, chance: float, wish: float | None) -> None:
    assert 0.79 * min(first_s, LONGEST_PAUSE_S) <= pause_s(tries, first_s, chance, wish) <= 1.21 * LONGEST_PAUSE_S


def test_a_receiver_that_asks_for_time_gets_it() -> None:
    assert pause_s(1, 5, 0.5, retry_after_s=60) == 60
    assert pause_s(1, 5, 0.5, retry_after_s=1) == 5
    assert pause_s(1, 5, 0.5, retry_after_s=1e9) == LONGEST_PAUSE_S


def test_settings_are_read_from_json(monkeypatch: pytest.MonkeyPatch) -> None:
    webhook = f'{{"url": "https://h.org/x", "secret": "{SECRET}", "states": ["failed"]}}'
    monkeypatch.setenv("SNAKEWAY_WEBHOOKS", f'[{webhook}, {{"url": "http://other/"}}]')
    monkeypatch.setenv("SNAKEWAY_WEBHOOK_SECRET", SECRET)
    monkeypatch.setenv("SNAKEWAY_RETENTION", '[{"older_than": "30d", "states": ["failed", "failed"]}]')
    settings = Settings()
    assert [webhook.subscription for webhook in settings.webhooks] == [
        Subscription("https://h.org/x", frozenset({RunState.FAILED})),
        Subscription("http://other/"),
    ]
    assert settings.retention[0].rule.states == {RunState.FAILED}
    assert settings.retention[0].rule.older_than.days == 30
    assert SECRET not in f"{settings!r} {settings} {settings.model_dump_json()}"


@pytest.mark.parametrize(
    "values",
    [
        {"webhooks": [{"url": "https://h/"}, {"url": "https://h/"}]},
        {"webhooks": [{"url": "https://h/", "secrets": "x"}]},
        {"webhooks": [{"url": "https://u:p@h/"}]},
        {"webhooks": [{"url": "https://h/", "states": ["done"]}]},
        {"webhook_secret": "hunter2hunter2"},
        {"webhook_url_prefixes": ["https://"]},
        {"retention": [{}]},
        {"retention": [{"older_than": "0s"}]},
        {"retention": [{"older_than": 30}]},
        {"retention": [{"older_than": "30d", "states": ["running"]}]},
        {"retention": [{"older_than": "30d", "label": {}}]},
        {"keep_label": ""},
    ],
)
def test_settings_that_make_no_sense_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Settings(**values)  # type: ignore[arg-type]
