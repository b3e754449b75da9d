"""Where a target keeps the files of a run, from its profile and the environment."""

import os
from pathlib import Path

import pytest

from snakeway.catalog.effective import effective
from snakeway.catalog.storage import storage_url
from snakeway.catalog.target import Target, Targets
from snakeway.errors import InvalidTarget
from tests.support.server import ROOT

RUN = "01990000-0000-7000-8000-000000000000"
S3 = "default-storage-provider: s3\n"


def target(tmp_path: Path, text: str) -> Target:
    folder = tmp_path / "there"
    folder.mkdir()
    (folder / "config.yaml").write_text(text)
    return Targets(tmp_path).get("there")


def place(target: Target, env: dict[str, str]) -> str | None:
    return storage_url(effective(target, RUN, env), env)


def test_the_shipped_target_keeps_each_run_below_its_id() -> None:
    shipped = Targets(ROOT / "profiles").get("aws-batch")
    env = {**os.environ, "SNAKEMAKE_S3_PREFIX": "s3://lab/runs", "SNAKEMAKE_STORAGE_S3_ENDPOINT_URL": "http://x:1"}
    assert place(shipped, env) == f"s3://lab/runs/{RUN}?endpoint=http%3A%2F%2Fx%3A1"
    assert place(Targets(ROOT / "profiles").get("local"), env) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cores: 1\n", None),
        ("default-storage-provider: gcs\ndefault-storage-prefix: gcs://b/x\n", None),
        (S3, None),
        (S3 + "default-storage-prefix: $UNSET/runs\n", None),
        (S3 + "default-storage-prefix: s3://lab\n", "s3://lab/?"),
        (S3 + "default-storage-prefix: s3://lab/$HERE/a b\nstorage-s3-region: eu\n", "s3://lab/there/a%20b?region=eu"),
        (S3 + "default-storage-prefix: ?1 + 1\n", None),
    ],
)
def test_what_a_profile_says(tmp_path: Path, text: str, expected: str | None) -> None:
    assert place(target(tmp_path, text), {**os.environ, "HERE": "there"}) == expected


@pytest.mark.parametrize(("expression", "why"), [("?nowhere", "nowhere"), ("?1 +", "syntax")])
def test_an_expression_that_cannot_be_evaluated_is_told(tmp_path: Path, expression: str, why: str) -> None:
    broken = target(tmp_path, f"__use_yte__: true\n{S3}default-storage-prefix: {expression}\n")
    with pytest.raises(InvalidTarget, match=f"(?i)target 'there': an expression cannot be evaluated: .*{why}"):
        effective(broken, RUN, os.environ)
