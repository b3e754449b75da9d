"""Who sends a request: a bearer token becomes a User."""

import hmac

from snakeway.errors import Unauthorized
from snakeway.model.user import LOCAL, User


class Authenticator:
    """Knows the one token of this server, if it has one."""

    def __init__(self, token: str | None) -> None:
        self._token = None if token is None else token.encode()

    @property
    def open(self) -> bool:
        """Whether there is no token: then everybody who reaches the server is `LOCAL`, so it must stay on loopback."""
        return self._token is None

    def user(self, authorization: bytes | None) -> User:
        """Return who sent this ``Authorization`` header; raises Unauthorized.

        The comparison takes the same time wherever the tokens differ.
        """
        if self._token is None:
            return LOCAL
        if authorization is None:
            raise Unauthorized(
                "this server needs a token: send 'Authorization: Bearer <token>' (client: set SNAKEWAY_TOKEN)"
            )
        scheme, _, sent = authorization.partition(b" ")
        if scheme.lower() != b"bearer" or not hmac.compare_digest(sent.strip(), self._token):
            raise Unauthorized("the token is not the one of this server")
        return LOCAL
