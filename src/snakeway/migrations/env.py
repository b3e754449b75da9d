"""Run by Alembic; the connection comes from :meth:`snakeway.store.Store.migrate`."""

from alembic import context
from sqlmodel import SQLModel

import snakeway.rows  # noqa: F401  (fills the metadata)

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    render_as_batch=True,
    compare_type=True,
)
context.run_migrations()
