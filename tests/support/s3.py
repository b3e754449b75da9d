"""Object stores that speak S3: what the tests need to know of one, and moto, which takes a second to start.

moto takes any key, wrong and expired signatures included; `radosgw.py` has a server that does not.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import httpx

from .ports import free_ports
from .processes import guarded, log_tail
from .waiting import wait_until

REGION = "us-east-1"
_START_S = 120.0


@dataclass(frozen=True)
class S3Server:
    """A running object store, and who may use it."""

    url: str
    access_key: str
    secret_key: str

    @property
    def credentials(self) -> dict[str, str]:
        """The environment variables of its user."""
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}

    def blobs_url(self, bucket: str, prefix: str = "") -> str:
        """Return the value of SNAKEWAY_BLOBS_URL for a bucket of it."""
        return f"s3://{bucket}/{prefix}?{urlencode({'endpoint': self.url, 'region': REGION})}"


@contextmanager
def moto_server(folder: Path) -> Iterator[S3Server]:
    """Run moto for the `with` block; its log is ``folder/moto.log``. Raises RuntimeError if it does not come up."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "moto.log"
    port = free_ports(1)[0]
    url = f"http://127.0.0.1:{port}"
    argv = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    # Without the variables of a person's own account, which moto would not use, but need not see.
    env = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with guarded(argv, log=log, env=env, cwd=folder, patience_s=2) as server:

        def answers() -> bool:
            if server.poll() is not None:
                raise RuntimeError(f"moto did not start:\n{log_tail(log)}")
            try:
                return httpx.get(f"{url}/moto-api/", timeout=5).is_success
            except httpx.TransportError:
                return False

        wait_until(answers, timeout_s=_START_S, what="moto to answer")
        yield S3Server(url, "moto", "of no account")
