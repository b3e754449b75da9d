"""Workflows and targets: folders below ``workflows/`` and ``profiles/``, and workflows in git repositories.

    catalog.py      Catalog, the one way in
    workflow.py     what a workflow's folder says: Snakefile, description, schema, defaults
    target.py       what a profile's folder says
    effective.py    what a profile comes to for a run; storage.py: where it keeps the run's files
    tree.py         the files of a folder and their digest; ignore.py: those that do not count
    snapshot.py     copies that never change, by digest
    materialise.py  such a copy into the directory of a run
    deploy.py       has all of its files sent to jobs that share no disk
    schema.py       checks configurations
    git.py          repositories, with gitsource.py, gitcommand.py and gitexport.py
    documents.py    YAML and JSON from strangers; names.py: names of workflows and targets

Other packages use the names below only.
"""

from snakeway.catalog.catalog import NO_TARGETS, NO_WORKFLOWS, Catalog
from snakeway.catalog.deploy import deploys_sources
from snakeway.catalog.effective import effective
from snakeway.catalog.storage import storage_url
from snakeway.catalog.target import Target
from snakeway.catalog.workflow import Workflow

__all__ = [
    "NO_TARGETS",
    "NO_WORKFLOWS",
    "Catalog",
    "Target",
    "Workflow",
    "deploys_sources",
    "effective",
    "storage_url",
]
