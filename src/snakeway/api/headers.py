"""Headers of every response, whoever made it."""

from litestar.types import Message, Scope

_NOSNIFF = (b"x-content-type-options", b"nosniff")
_SAME_ORIGIN = (b"cross-origin-resource-policy", b"same-origin")
_NO_REFERRER = (b"referrer-policy", b"no-referrer")
_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
_NO_STORE = (b"cache-control", b"no-store")


async def add_security_headers(message: Message, _scope: Scope) -> None:
    """Add what is not there: nothing is cached, guessed, framed or embedded elsewhere unless a handler says so."""
    if message["type"] != "http.response.start":
        return
    headers = list(message.get("headers", ()))
    names = {name.lower() for name, _ in headers}
    headers += [_NOSNIFF, _SAME_ORIGIN, _NO_REFERRER]
    headers += [default for default in (_POLICY, _NO_STORE) if default[0] not in names]
    message["headers"] = headers
