"""The one place where the plugin's own failures end."""

from collections.abc import Iterator
from contextlib import contextmanager

from snakeway.wire import Complain


class Guard:
    """Keeps our bugs from failing somebody's run: ``with guard():`` says the first on stderr and swallows them all."""

    def __init__(self) -> None:
        self.complain = Complain()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001
            self.complain(f"cannot record: {type(error).__name__}: {error}; the run goes on without")
