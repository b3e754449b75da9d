"""Software that rules bring with them, on the nodes of a real Slurm cluster, as Snakemake deploys it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import StartServer
from tests.support.services import need
from tests.support.slurm import Cluster

pytestmark = [pytest.mark.xdist_group("slurm"), pytest.mark.timeout(300)]

MODULES = Path("/usr/share/modules/init/bash")  # where Debian has it

WORKFLOW = """
rule greet:
    output: "greeting.txt"
    envmodules: "greeter/1.0"
    shell: "greet > {output}; echo $SLURMD_NODENAME >> {output}"
"""


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    """A folder of modules, in which `greeter/1.0` puts the command `greet` on PATH."""
    need((str(MODULES),), missing=[] if MODULES.exists() else [str(MODULES)])
    program = tmp_path / "greeter" / "greet"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho hello\n")
    program.chmod(0o755)
    module = tmp_path / "modules" / "greeter" / "1.0"
    module.parent.mkdir(parents=True)
    module.write_text(f"#%Module\nprepend-path PATH {program.parent}\n")
    return tmp_path / "modules"


def test_a_rule_loads_its_environment_module_on_the_node(
    cluster: Cluster, slurm_server: StartServer, workflows: Callable[..., Path], modules: Path
) -> None:
    settings = {"BASH_ENV": str(MODULES), "MODULEPATH": str(modules)}
    server = slurm_server(workflows_dir=workflows(greeting=WORKFLOW), settings=settings)
    with (server.profiles_dir / "quick" / "config.yaml").open("a") as profile:
        profile.write("software-deployment-method: [env-modules]\n")
    run_id = server.submit("greeting", target="quick")
    run = server.end_of(run_id, timeout_s=120)
    assert run["state"] == "succeeded", run
    hello, node = (server.directory(run_id) / "greeting.txt").read_text().split()
    assert hello == "hello"
    assert node.startswith("node")
