"""Headers of every response, whoever made it."""

from litestar.types import Message, Scope

_NOSNIFF = (b"x-content-type-options", b"nosniff")
_SAME_ORIGIN = (b"cross-origin-resource-policy", b"same-origin")
_NO_REFERRER = (b"referrer-policy", b"no-referrer")
_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
_PAGE_POLICY = (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
_NO_STORE = (b"cache-control", b"no-store")


async def add_security_headers(message: Message, _scope: Scope) -> None:
    """Add what is not there: nothing is cached, guessed, framed or embedded elsewhere unless a handler says so."""
    if message["type"] != "http.response.start":
        return
    sent = list(message.get("headers", ()))
    present = {name.lower(): value for name, value in sent}
    is_page = present.get(b"content-type", b"").startswith(b"text/html")
    defaults = (_PAGE_POLICY if is_page else _POLICY, _NO_STORE)
    missing = [default for default in defaults if default[0] not in present]
    message["headers"] = [*sent, _NOSNIFF, _SAME_ORIGIN, _NO_REFERRER, *missing]
