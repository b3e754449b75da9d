"""Settings of the server side. Each is an environment variable ``SNAKEWAY_<NAME>``; units are in the names."""

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from snakeway.errors import Invalid
from snakeway.model.blob import BlobsLocation, location_of
from snakeway.model.duration import parse_duration
from snakeway.model.retention import Rule, check_states
from snakeway.model.run import RunState
from snakeway.model.webhook import Subscription, check_secret, check_url

ACCOUNT_NAME = "[a-z_][a-z0-9_-]{0,31}"

T = TypeVar("T")
U = TypeVar("U")


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


def _checked(check: Callable[[T], U]) -> Callable[[T], U]:
    """Return a check of the model's as pydantic takes it: it knows ValueError only."""

    def validate(value: T) -> U:
        try:
            return check(value)
        except Invalid as error:
            raise ValueError(error.detail) from error

    return validate


def _webhook_secret(secret: SecretStr) -> SecretStr:
    check_secret(secret.get_secret_value())
    return secret


def _length(text: object) -> timedelta:
    if not isinstance(text, str):
        raise ValueError('a length of time is a text, such as "30d"')
    return _checked(parse_duration)(text)


def _positive(length: timedelta) -> timedelta:
    if not length:
        raise ValueError("a rule must leave some time after the end of a run")
    return length


def _different_urls(webhooks: "list[Webhook]") -> "list[Webhook]":
    if len({webhook.url for webhook in webhooks}) < len(webhooks):
        raise ValueError("an address is there twice; give it one entry with all its states")
    return webhooks


def _account(name: str) -> str:
    if re.fullmatch(ACCOUNT_NAME, name) is None:
        raise ValueError(f"{name!r} cannot be a local account: it must match {ACCOUNT_NAME}")
    return name


def _owner_variable(name: str) -> str:
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) is None or name.startswith(("SNAKEWAY_", "LD_", "PYTHON")):
        raise ValueError(f"{name!r} is not a variable that can be handed on")
    return name


def _blobs_url(url: str) -> str:
    location_of(url)
    return url


Account = Annotated[str, AfterValidator(_account)]
OwnerVariable = Annotated[str, AfterValidator(_owner_variable)]
AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
BlobsUrl = Annotated[str, AfterValidator(_checked(_blobs_url))]
WebhookUrl = Annotated[str, AfterValidator(_checked(check_url))]
WebhookSecret = Annotated[SecretStr, AfterValidator(_checked(_webhook_secret))]


class Webhook(BaseModel):
    """An address that is told of all runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: WebhookUrl
    secret: WebhookSecret | None = None
    states: list[RunState] = []

    @property
    def subscription(self) -> Subscription:
        """The part of it that is needed where runs change: without the secret."""
        return Subscription(self.url, frozenset(self.states))


class RetentionRule(BaseModel):
    """Which ended runs are removed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    older_than: Annotated[timedelta, BeforeValidator(_length), AfterValidator(_positive)]
    states: Annotated[list[RunState], AfterValidator(lambda states: sorted(_checked(check_states)(states)))] = []
    labels: dict[str, str] = {}
    workflow: str | None = None

    @property
    def rule(self) -> Rule:
        """The rule as the model knows it."""
        return Rule(self.older_than, frozenset(self.states), self.labels, self.workflow)


class Settings(BaseSettings):
    """What an installation decides. Every default works on one machine without any configuration."""

    model_config = SettingsConfigDict(env_prefix="SNAKEWAY_", frozen=True, extra="ignore")

    data_dir: AbsolutePath = Field(
        Path("snakeway-data"), description="Folder of the database, the runs and the snapshots."
    )
    database_url: str | None = Field(
        None,
        description="URL of the store: sqlite:///PATH or postgresql+psycopg://…; SQLite in data_dir when unset.",
    )
    blobs_url: BlobsUrl | None = Field(
        None,
        description="Where objects are kept: file:///FOLDER or s3://BUCKET/PREFIX?endpoint=URL&region=NAME; the folder "
        "blobs in data_dir when unset.",
    )
    workflows_dir: AbsolutePath = Field(
        Path("workflows"), description="Folder whose subfolders are the catalog's workflows."
    )
    profiles_dir: AbsolutePath = Field(Path("profiles"), description="Folder whose subfolders are the targets.")
    host: str = Field(
        "127.0.0.1", description="Address to bind. Anything but loopback is refused unless a token is set."
    )
    port: int = Field(8642, ge=0, le=65535, description="Port to bind; 0 takes a free one.")
    token: SecretStr | None = Field(
        None, min_length=16, description="Bearer token that every request must carry when set."
    )
    prices_file: AbsolutePath | None = Field(
        None,
        description="YAML file with the prices of an hour of a processor and of a GiB on each target; without one only "
        "hours are shown. Edits count at once.",
    )
    git_url_prefixes: list[str] = Field(
        ["https://", "http://", "ssh://", "file://"],
        description="Workflows are fetched only from git URLs that begin with one of these.",
    )
    git_timeout_s: float = Field(60, gt=0, description="Longest time that one git command may take.")
    max_body_bytes: int = Field(1024 * 1024, ge=1024, description="Largest accepted request body.")
    max_bundle_bytes: int = Field(
        256 * 1024 * 1024, ge=1024, description="Largest accepted archive of a workflow, packed."
    )
    max_input_bytes: int = Field(
        256 * 1024**3,
        ge=1,
        description="Largest file that can be uploaded as an input. A bucket takes 484 GiB at most, what 10,000 parts "
        "hold; set more only where `SNAKEWAY_BLOBS_URL` is a folder.",
    )
    max_inputs_bytes_per_owner: int = Field(
        10 * 1024**4,
        ge=1,
        description="Most bytes of inputs that one owner may keep. A complete content counts once, each "
        "unfinished upload with its whole size.",
    )
    upload_expiry_s: float = Field(
        7 * 24 * 3600, ge=60, description="Time without a byte after which an unfinished upload of an input is removed."
    )
    max_active_runs: int = Field(
        4, ge=1, description="Attempts that one supervisor runs at a time; the rest wait in the queue."
    )
    max_recoveries: int = Field(
        3, ge=0, description="Times a run whose snakemake process was lost is started again by itself."
    )
    suggest_mem_mb_max: int = Field(
        256_000, ge=1, description="Most memory in MB that a suggestion asks for after a job ran out of it."
    )
    suggest_runtime_min_max: int = Field(
        7 * 24 * 60, ge=1, description="Most minutes of run time that a suggestion asks for after a time limit."
    )
    digest_max_bytes: int = Field(
        10 * 1024**3,
        ge=0,
        description="Largest object of a run in a storage that is read to compute its SHA-256; larger ones have none.",
    )
    presigned_expiry_s: int = Field(
        900, ge=1, le=7 * 24 * 3600, description="Time for which the address of a download from a storage works."
    )
    tick_s: float = Field(0.2, gt=0, le=10, description="Pause between two looks of the supervisor at its attempts.")
    lease_s: float = Field(
        30, ge=1, description="Time after which attempts of a silent supervisor may be adopted by another."
    )
    launch_grace_s: float = Field(
        20, gt=0, description="Time a launched attempt has to claim its directory before it is launched again."
    )
    stop_interrupt_grace_s: float = Field(15, ge=0, description="Cancel: time between SIGINT to the group and SIGKILL.")
    stop_kill_grace_s: float = Field(
        5, ge=0, description="Cancel: time between SIGKILL and judging the attempt without its word."
    )
    scheduler_interval_s: float = Field(
        15, gt=0, le=600, description="Pause between two looks at the scheduler of a cluster, for all its jobs at once."
    )
    scheduler_books_s: float = Field(
        600,
        ge=0,
        description="Time after the end of an attempt in which the scheduler's books are asked about its jobs.",
    )
    outside_silence_s: float = Field(
        3600, ge=1, description="Time without a word after which an attempt that was started by hand counts as lost."
    )
    plan_wait_s: float = Field(
        20, ge=0, description="Longest time a re-run request waits for its dry run before it answers without."
    )
    database_wait_s: float = Field(
        10, gt=0, description="Longest wait for a locked database or a free connection, each time one is needed."
    )
    webhooks: Annotated[list[Webhook], AfterValidator(_different_urls)] = Field(
        [],
        description="Addresses that are told of every run: objects with url, and optionally secret and states.",
    )
    webhook_secret: WebhookSecret | None = Field(
        None,
        description="Signs what goes to webhooks of runs, and to those above that have no secret of their own.",
    )
    webhook_url_prefixes: list[WebhookUrl] = Field(
        [], description="Runs may have webhooks below these addresses; by default none may."
    )
    webhook_timeout_s: float = Field(
        10, gt=0, le=300, description="Longest time that a webhook's host may be silent before a try counts as failed."
    )
    webhook_retry_s: float = Field(
        5, gt=0, description="Pause before the second try; each further one is four times as long, up to six hours."
    )
    webhook_max_tries: int = Field(10, ge=1, description="Tries after which a delivery is given up.")
    retention: list[RetentionRule] = Field(
        [],
        description="Ended runs that any of these names are removed: objects with older_than (such as 30d), and "
        "optionally states, labels and workflow.",
    )
    retention_interval_s: float = Field(3600, gt=0, description="Time between two looks for runs to be removed.")
    keep_label: str = Field(
        "keep", min_length=1, description="A run with this label, whatever its value, is never removed by a rule."
    )

    run_as_owner: bool = Field(
        False, description="Runs run as the local account of their owner, through sudo, instead of as the service."
    )
    accounts: dict[str, Account] = Field(
        {}, description="Local accounts of owners: an object of names. Who is not in it is his own account's name."
    )
    owner_environment: list[OwnerVariable] = Field(
        [],
        description="More variables of the service's environment for runs as their owner, who can read them.",
    )

    @property
    def store_url(self) -> str:
        """URL of the database, the embedded default filled in."""
        return self.database_url or f"sqlite:///{self.data_dir / 'snakeway.db'}"

    @property
    def blobs_address(self) -> str:
        """Where objects are kept as a URL, the default filled in."""
        return self.blobs_url or (self.data_dir / "blobs").as_uri()

    @property
    def blobs_location(self) -> BlobsLocation:
        """Where objects are kept, the default filled in."""
        return location_of(self.blobs_address)
