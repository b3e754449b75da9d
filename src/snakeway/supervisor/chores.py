"""What a supervisor does beside its loop, in threads: notify webhooks, apply retention rules, sweep uploads."""

import logging
import threading
from collections.abc import Callable

from snakeway import removal, uploads
from snakeway.blobs import Storages
from snakeway.errors import Unavailable
from snakeway.model.audit import AuditAction
from snakeway.removal import Actor
from snakeway.rows import now
from snakeway.settings import Settings
from snakeway.store import Store
from snakeway.supervisor.deliver import Deliverer

log = logging.getLogger(__name__)

ACTOR = "supervisor"  # in the audit
_UPLOADS_S = 600.0  # between two looks for expired uploads
_PATIENCE_S = 2  # an ending supervisor does not wait longer; what is not done is done by its successor


class Chores:
    """The threads. Several supervisors may do the same chores: the database keeps them apart."""

    def __init__(self, store: Store, settings: Settings, storages: Storages) -> None:
        self._store = store
        self._settings = settings
        self._storages = storages
        self._deliverer = Deliverer(store, settings)
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start the threads."""
        self._begin("snakeway-notifier", lambda: self._deliverer.run(self._stop))
        self._begin("snakeway-uploads", self._sweep_uploads)
        if self._settings.retention:
            self._begin("snakeway-retention", self._keep_house)

    def wake(self) -> None:
        """Say that there may be something to send."""
        self._deliverer.wake()

    def stop(self) -> None:
        """End the threads, and wait a little for what they are at."""
        self._stop.set()
        self._deliverer.wake()
        for thread in self._threads:
            thread.join(_PATIENCE_S)

    def _begin(self, name: str, life: Callable[[], None]) -> None:
        thread = threading.Thread(target=life, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _sweep_uploads(self) -> None:
        while not self._stop.is_set():
            try:
                blobs = self._storages.at(self._settings.blobs_address)
                uploads.sweep(self._store, blobs, self._settings.data_dir, self._settings.upload_expiry_s, now())
            except (Unavailable, OSError) as error:
                log.warning("removing expired uploads: %s", error)
            except Exception:
                log.exception("removing expired uploads went wrong")
            self._stop.wait(_UPLOADS_S)

    def _keep_house(self) -> None:
        while not self._stop.is_set():
            try:
                self.apply_retention()
            except (Unavailable, OSError) as error:
                log.warning("removing runs by the retention rules: %s", error)
            except Exception:
                log.exception("removing runs by the retention rules went wrong")
            self._stop.wait(self._settings.retention_interval_s)

    def apply_retention(self) -> int:
        """Remove what the rules of the settings name; returns how many runs. Ends early when stopped."""
        removal.clean_up(self._store, self._settings.data_dir)
        count = 0
        for setting in self._settings.retention:
            actor = Actor(ACTOR, AuditAction.EXPIRE, setting.rule)
            at, cursor = now(), None
            while not self._stop.is_set():
                keep_label = self._settings.keep_label
                pruned = removal.prune(
                    self._store,
                    self._settings.data_dir,
                    setting.rule,
                    at,
                    keep_label=keep_label,
                    actor=actor,
                    cursor=cursor,
                )
                count += sum(each.removed for each in pruned.items)
                cursor = pruned.next
                if cursor is None:
                    break
        if count:
            log.info("the retention rules removed %d runs", count)
        return count
