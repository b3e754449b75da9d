"""Imported by the forkserver before it forks anything: what a snakemake start imports.

Trouble here is not an error: the attempt then imports for itself and says what is wrong in its own log.
"""

import contextlib

from snakeway.supervisor import shim  # noqa: F401
from snakeway.supervisor.warm import freeze

with contextlib.suppress(Exception, SystemExit):
    from snakemake import cli

    import snakemake_logger_plugin_snakeway  # noqa: F401

    cli.get_argument_parser()  # loads every executor, storage, scheduler, report and logger plugin
    import requests  # noqa: F401  (by snakemake, when it opens the first Snakefile)
    import smart_open  # noqa: F401
    import yte  # noqa: F401  (by snakemake, when it reads a profile)
    from snakemake import api, dag, jobs, scheduling, script, storage, utils, workflow  # noqa: F401
    from snakemake.executors import dryrun, local  # noqa: F401
    from snakemake.persistence import file  # noqa: F401
    from snakemake.scheduling import job_scheduler  # noqa: F401

freeze()
