import pytest

from snakeway.auth import Authenticator
from snakeway.errors import Unauthorized
from snakeway.model.user import LOCAL

TOKEN = "0123456789abcdef"


def test_without_a_token_everybody_is_local() -> None:
    authenticator = Authenticator(None)
    assert authenticator.open
    assert authenticator.user(None) is LOCAL
    assert authenticator.user(b"Bearer whatever") is LOCAL


@pytest.mark.parametrize(
    "header", [b"Bearer 0123456789abcdef", b"bearer  0123456789abcdef", b"BEARER 0123456789abcdef "]
)
def test_the_token_lets_in(header: bytes) -> None:
    authenticator = Authenticator(TOKEN)
    assert not authenticator.open
    assert authenticator.user(header) is LOCAL


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"",
        b"Bearer",
        b"Bearer ",
        b"Bearer 0123456789abcde",
        b"Bearer 0123456789abcdef0",
        b"Basic 0123456789abcdef",
        b"0123456789abcdef",
        b"Bearer \xff\xfe",
    ],
)
def test_anything_else_does_not(header: bytes | None) -> None:
    with pytest.raises(Unauthorized) as caught:
        Authenticator(TOKEN).user(header)
    assert TOKEN not in caught.value.detail


def test_a_token_may_hold_any_letters() -> None:
    assert Authenticator("gehëim-gehëim-x").user("Bearer gehëim-gehëim-x".encode()) is LOCAL
