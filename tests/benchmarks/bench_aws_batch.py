"""Jobs that do nothing, on a stand-in for AWS Batch that runs real containers: what each costs.

Our image and profile against snakemake-executor-plugin-aws-batch in an image with snakemake and nothing else, as the
plugin's documentation has it: each job then installs the storage plugin when it starts. One run after the other, with
the same number of jobs at a time. The machine's processors are what limits, as they limit a small machine on AWS.
"""

import argparse
import os
import re
import tempfile
from collections import Counter
from pathlib import Path

import psutil

from tests.benchmarks.common import SNAKEMAKE, ratio, row, timed
from tests.support.aws import BUCKET, QUEUE, REGION, Aws, aws
from tests.support.containers import BASE, Podman, run

PROFILE = Path(__file__).parent.parent.parent / "profiles" / "aws-batch"
PLAIN = "localhost/plain-snakemake:bench"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
WORKFLOW = """
rule all:
    input: expand("steps/{{i}}.txt", i=range({jobs}))

rule step:
    output: "steps/{{i}}.txt"
    shell: "touch {{output}}"
"""
# The certificates of this machine are for one whose HTTPS is signed anew; elsewhere they are the usual ones.
DOCKERFILE = """
FROM {base}
RUN apt-get update -qq && apt-get install -qq -y --no-install-recommends ca-certificates python3 python3-venv >/dev/null
COPY ca.crt {certificates}
ENV PIP_CERT={certificates} PATH=/opt/snakemake/bin:$PATH
RUN python3 -m venv /opt/snakemake && pip install --quiet --no-cache-dir snakemake=={version}
WORKDIR /work
"""
SECRETS = ["--envvars", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--at-a-time", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    wall: dict[str, list[float]] = {"profile": [], "plugin": []}
    used: dict[str, list[float]] = {"profile": [], "plugin": []}
    with tempfile.TemporaryDirectory() as name, aws(Path(name) / "aws") as server:
        plain_image(server.containers, Path(name))
        for number in range(options.rounds):
            for kind in wall:
                folder = Path(name) / f"{kind}-{number}"
                folder.mkdir()
                (folder / "Snakefile").write_text(WORKFLOW.format(jobs=options.jobs))
                argv = [SNAKEMAKE, *arguments(kind, server, folder.name), "--jobs", str(options.at_a_time)]
                calls, busy_s = server.calls(), psutil.cpu_times()
                wall_s = timed(argv, folder, server.env | {"SNAKEMAKE_S3_PREFIX": f"s3://{BUCKET}/{folder.name}"})
                assert len(server.keys(f"{folder.name}/steps/")) == options.jobs
                after = psutil.cpu_times()
                wall[kind].append(wall_s / options.jobs)
                used[kind].append((after.user + after.system - busy_s.user - busy_s.system) / options.jobs)
                told = ", ".join(f"{count} {call}" for call, count in sorted((server.calls() - calls).items()))
                print(f"{kind}: {wall_s:.0f} s; {told}", flush=True)
    print(f"{options.jobs} jobs, {options.at_a_time} at a time, per job{'':<12} {'min':>8} {'median':>8} {'max':>8}")
    for what, times in (("wall", wall), ("processor, whole machine", used)):
        for kind, found in times.items():
            print(row(f"{kind}, {what}", found))
        print(f"ratio {ratio(times['profile'], times['plugin']):.2f}")


def arguments(kind: str, server: Aws, prefix: str) -> list[str]:
    """Return what the two are called with; jobs have no role there, so both pass keys on."""
    if kind == "profile":
        return ["--profile", str(PROFILE), "--snakeway-aws-batch-pass-secrets", *SECRETS]
    return [
        *("--executor", "aws-batch", "--aws-batch-region", REGION, "--aws-batch-job-queue", QUEUE),
        *("--aws-batch-job-role", server.role, "--container-image", PLAIN, "--shared-fs-usage", "none"),
        *("--default-storage-provider", "s3", "--default-storage-prefix", f"s3://{BUCKET}/{prefix}"),
        *SECRETS,
        *("AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION"),
    ]


def plain_image(podman: Podman, folder: Path) -> None:
    """Build the image with snakemake and nothing else, in the version that is installed here."""
    found = Counter(re.findall(r"\d+(?:\.\d+)+", run([str(SNAKEMAKE), "--version"], env=dict(os.environ)).decode()))
    (version,) = found
    (folder / "ca.crt").write_bytes(CERTIFICATES.read_bytes())
    text = DOCKERFILE.format(base=BASE, certificates=CERTIFICATES, version=version)
    (folder / "Dockerfile").write_text(text)
    podman.run("build", "--network=host", "--tag", PLAIN, "--file", str(folder / "Dockerfile"), str(folder))


if __name__ == "__main__":
    main()
