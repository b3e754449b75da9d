"""Settings of the server side. Each is an environment variable ``SNAKEWAY_<NAME>``; units are in the names."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


FolderPath = Annotated[Path, AfterValidator(_absolute)]


class Settings(BaseSettings):
    """What an installation decides. Every default works on one machine without any configuration."""

    model_config = SettingsConfigDict(env_prefix="SNAKEWAY_", frozen=True, extra="ignore")

    data_dir: FolderPath = Field(
        Path("snakeway-data"), description="Folder of the database, the runs and the snapshots."
    )
    database_url: str | None = Field(
        None,
        description="URL of the store: sqlite:///PATH or postgresql+psycopg://…; SQLite in data_dir when unset.",
    )
    workflows_dir: FolderPath = Field(
        Path("workflows"), description="Folder whose subfolders are the catalog's workflows."
    )
    profiles_dir: FolderPath = Field(Path("profiles"), description="Folder whose subfolders are the targets.")
    host: str = Field(
        "127.0.0.1", description="Address to bind. Anything but loopback is refused unless a token is set."
    )
    port: int = Field(8642, ge=0, le=65535, description="Port to bind; 0 takes a free one.")
    token: SecretStr | None = Field(
        None, min_length=16, description="Bearer token that every request must carry when set."
    )
    git_url_prefixes: list[str] = Field(
        ["https://", "http://", "ssh://", "file://"],
        description="Workflows are fetched only from git URLs that begin with one of these.",
    )
    git_timeout_s: float = Field(60, gt=0, description="Longest time that one git command may take.")
    max_body_bytes: int = Field(1024 * 1024, ge=1024, description="Largest accepted request body.")
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
    outside_silence_s: float = Field(
        3600, ge=1, description="Time without a word after which an attempt that was started by hand counts as lost."
    )
    plan_wait_s: float = Field(
        20, ge=0, description="Longest time a re-run request waits for its dry run before it answers without."
    )
    database_wait_s: float = Field(10, gt=0, description="Longest wait for a locked database or a free connection.")

    @property
    def store_url(self) -> str:
        """URL of the database, the embedded default filled in."""
        return self.database_url or f"sqlite:///{self.data_dir / 'snakeway.db'}"
