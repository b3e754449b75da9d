"""Ports of this machine that nobody listens on."""

import random
import socket
from contextlib import ExitStack

_TRIES = 100
_RANGE = (20_000, 30_000)  # below those that the kernel gives to clients


def free_ports(count: int, *, adjacent: bool = False) -> list[int]:
    """Return different ports that are free at this moment; with ``adjacent`` they follow one another.

    Raises RuntimeError if there are none.
    """
    for _ in range(_TRIES):
        if adjacent:
            first = random.randrange(*_RANGE)
            ports = list(range(first, first + count))
        else:
            ports = random.sample(range(*_RANGE), count)
        with ExitStack() as stack:
            try:
                for port in ports:
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return ports
    raise RuntimeError("no free ports")
