"""The sockets that a server listens on, and who may reach them."""

import contextlib
import errno
import ipaddress
import socket
from collections.abc import Iterator

from snakeway.errors import Invalid
from snakeway.settings import Settings

_NOT_OF_THIS_MACHINE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def check_exposure(settings: Settings) -> None:
    """Raise Invalid when others could reach the server and nothing would tell them apart."""
    if settings.token is not None:
        return
    try:
        loopback = ipaddress.ip_address(settings.host).is_loopback
    except ValueError:
        loopback = settings.host == "localhost"
    if not loopback:
        raise Invalid(
            f"refusing to listen on {settings.host} without authentication: set SNAKEWAY_TOKEN, or use 127.0.0.1",
            field="host",
        )


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[list[socket.socket]]:
    """Listen on every address that ``host`` has on this machine. Raises Invalid.

    asyncio leaves sockets that it did not make as they are: without TCP_NODELAY, which those that are accepted inherit,
    each answer would wait 40 ms for the client to say that it has the headers.
    """
    with contextlib.ExitStack() as stack:
        sockets: list[socket.socket] = []
        try:
            found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            missing = None
            for family, _, _, _, address in dict.fromkeys(found):
                try:
                    listener = stack.enter_context(socket.create_server(address, family=family))
                except OSError as error:
                    if error.errno not in _NOT_OF_THIS_MACHINE:
                        raise
                    missing = error  # "localhost" has an address of IPv6 even where there is no IPv6
                    continue
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sockets.append(listener)
            if missing and not sockets:
                raise missing
        except (OSError, UnicodeError) as error:
            told = error.strerror if isinstance(error, OSError) else "this is not a name of a host"
            why = str(told).partition(" (")[0]  # without the address once more
            taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
            advice = f"{'stop the server that is there, or ' if taken else ''}choose another with --host or --port"
            raise Invalid(f"cannot listen on {host}:{port}: {why}; {advice}") from error
        yield sockets
