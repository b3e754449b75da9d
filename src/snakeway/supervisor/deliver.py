"""Sends the stored messages to webhooks, as the Standard Webhooks specification (1.0.0) says.

A message is claimed in the database, sent, and what became of it is recorded, each in a transaction of its own. So a
crash at any line loses none, and one whose sender died in the middle may arrive twice: with the same webhook-id.
"""

import logging
import secrets
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import httpx
from standardwebhooks.webhooks import Webhook as Signer

from snakeway import __version__
from snakeway.errors import Unavailable
from snakeway.model.delivery import Answer, DeliveryState, judge, pause_s
from snakeway.model.webhook import is_allowed, shown
from snakeway.rows import DeliveryRow, now
from snakeway.settings import Settings
from snakeway.store import Store, deliveries

log = logging.getLogger(__name__)

_AT_ONCE = 8  # senders; one for each address at the most, so a receiver that hangs keeps up only its own messages
_LOOK_S = 0.5  # pause between two looks for messages that are due
_LEASE_MARGIN_S = 5
_TIMEOUTS = 3  # of one try at the worst: to connect, to send, to wait for the answer
_LONGEST_ERROR = 300


class Withdrawn(Exception):
    """The settings do not name the address of a message any more."""


class Deliverer:
    """Sends what is due. ``run`` is its life; ``claim`` and ``deliver`` are its two halves, for tests."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._webhooks = {webhook.url: webhook for webhook in settings.webhooks}
        self._lease = timedelta(seconds=_TIMEOUTS * settings.webhook_timeout_s + _LEASE_MARGIN_S)
        self._lock = threading.Lock()
        self._busy: set[str] = set()  # addresses that something is being sent to
        self._wake = threading.Event()
        self._client: httpx.Client | None = None

    def wake(self) -> None:
        """Have :meth:`run` look at once."""
        self._wake.set()

    def run(self, stop: threading.Event) -> None:
        """Send until ``stop`` is set and :meth:`wake` called. What is being sent then is left to its thread."""
        while not stop.is_set():
            self._wake.clear()
            try:
                claimed = self.claim(now())
            except Unavailable as error:
                log.warning("%s", error)
                claimed = []
            except Exception:
                log.exception("looking for notifications that are due went wrong")
                claimed = []
            for row in claimed:
                threading.Thread(target=self._deliver, args=(row,), name="snakeway-notify", daemon=True).start()
            if not claimed:
                self._wake.wait(_LOOK_S)

    def claim(self, at: datetime) -> Sequence[DeliveryRow]:
        """Take the messages that are due and whose address is free; the caller has to :meth:`deliver` each."""
        with self._lock:
            busy = set(self._busy)
        if len(busy) >= _AT_ONCE:
            return []
        with self._store.read() as tx:  # a look without the write lock, which is all there is to do most of the time
            if not deliveries.any_due(tx, at, busy):
                return []
        with self._store.write() as tx:
            claimed = deliveries.claim(tx, at, at + self._lease, busy, _AT_ONCE - len(busy))
        with self._lock:
            self._busy.update(row.url for row in claimed)
        return claimed

    def deliver(self, row: DeliveryRow) -> None:
        """Send a claimed message and record what became of it. Crash in between: it is sent again after its lease."""
        try:
            at, started = now(), time.monotonic()
            try:
                answer = self._send(row, self._key(row), at)
            except Withdrawn as error:
                self._record(row, Answer(error=str(error)), at, 0, DeliveryState.FAILED)
                return
            state = judge(answer, row.try_count, self._settings.webhook_max_tries)
            self._record(row, answer, at, time.monotonic() - started, state)
        finally:
            with self._lock:
                self._busy.discard(row.url)
            self._wake.set()

    def _deliver(self, row: DeliveryRow) -> None:
        try:
            self.deliver(row)
        except Unavailable as error:
            log.warning("%s", error)
        except Exception:  # the message is due again when its lease ends
            log.exception("notification %s could not be tried", row.id)

    def _record(self, row: DeliveryRow, answer: Answer, at: datetime, took_s: float, state: DeliveryState) -> None:
        tried: dict[str, Any] = {
            "at": at.isoformat(),
            "status": answer.status,
            "error": answer.error,
            "took_s": round(took_s, 3),
        }
        after = None
        if state is DeliveryState.PENDING:
            chance = secrets.randbelow(1001) / 1000
            pause = pause_s(row.try_count, self._settings.webhook_retry_s, chance, answer.retry_after_s)
            after = now() + timedelta(seconds=pause)
        with self._store.write() as tx:
            noted = deliveries.note_try(tx, row, tried, state, after)
        if noted and state is DeliveryState.FAILED:
            said = (row.type, row.run_id, shown(row.url), row.try_count, answer.error)
            log.warning("notification %s of run %s to %s is given up after try %d: %s", *said)

    def _key(self, row: DeliveryRow) -> str | None:
        """Return the secret that signs a message; raises Withdrawn."""
        secret = self._settings.webhook_secret
        if row.of_run:
            if not is_allowed(row.url, self._settings.webhook_url_prefixes):
                raise Withdrawn("Runs may not notify this address any more.")
        else:
            webhook = self._webhooks.get(row.url)
            if webhook is None:
                raise Withdrawn("The address is not among the server's webhooks any more.")
            secret = webhook.secret or secret
        return None if secret is None else secret.get_secret_value()

    def _send(self, row: DeliveryRow, key: str | None, at: datetime) -> Answer:
        body = row.body.encode()
        headers = {
            "Content-Type": "application/json",
            "webhook-id": row.id,
            "webhook-timestamp": str(int(at.timestamp())),
        }
        if key is not None:
            headers["webhook-signature"] = Signer(key).sign(row.id, at, row.body)
        try:
            # The answer's body is not read: nobody needs it, and it could be endless.
            with self._http().stream("POST", row.url, content=body, headers=headers) as response:
                return _judged(response)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:  # the last: a host that no resolver takes
            return Answer(error=f"{type(error).__name__}: {error}"[:_LONGEST_ERROR])

    def _http(self) -> httpx.Client:
        with self._lock:
            if self._client is None:  # made when it is needed: loading certificates takes a while
                self._client = httpx.Client(
                    timeout=self._settings.webhook_timeout_s,
                    follow_redirects=False,
                    headers={"User-Agent": f"snakeway/{__version__}"},
                    mounts={"all://localhost": None, "all://127.0.0.1": None},  # a site's proxy cannot reach these
                )
            return self._client


def _judged(response: httpx.Response) -> Answer:
    if response.is_success:
        return Answer(response.status_code)
    said = f"The receiver answered {response.status_code}."
    if response.is_redirect:
        said += " Redirects are not followed; set the address that it leads to."
    wait = None
    with suppress(ValueError):  # a date is not worth reading: the pauses grow anyway
        wait = float(response.headers.get("Retry-After", ""))
    return Answer(response.status_code, said, wait if wait is not None and wait >= 0 else None)
