"""The command of a job, for whatever image it runs in. Pure text, run by bash.

Two variables of the image say what it has: SNAKEWAY_HAS the storage plugins, which then are not installed at the start
of each job, and SNAKEWAY_NODE how python is told to start snakemake with what only executors need left out. Without
them the command is what the plugin would run.
"""

from collections.abc import Iterable

NODE = "${SNAKEWAY_NODE-}"
_FETCH = "python -m snakemake --deploy-sources "  # how Snakemake has the workflow fetched, before it starts the job
_JOB = f" && python {NODE} -m snakemake "


def installing(packages: Iterable[str], folder: str) -> str:
    """Return what installs packages into ``folder``, but for those that the image has."""
    return " && ".join(
        f'case " ${{SNAKEWAY_HAS-}} " in *" {name} "*) ;; *) pip install --target \'{folder}\' {name} ;; esac'
        for name in packages
    )


def in_one_start(command: str) -> str:
    """Have one snakemake fetch the workflow and run the job, where the image has a program that can (`snakeway.node`).

    A start takes more processor time than all the rest of a short job.
    """
    before, fetch, rest = command.partition(_FETCH)
    options, job, after = rest.partition(_JOB)
    if not fetch or not job:
        return command
    both = '${SNAKEWAY_NODE:+"${sources[@]}" --then}'
    return (
        f"{before}sources=(--deploy-sources {options}) &&"
        f' {{ [ -n "{NODE}" ] || python -m snakemake "${{sources[@]}}"; }} &&'
        f" python {NODE} {both} -m snakemake {after}"
    )
