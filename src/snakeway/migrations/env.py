"""Run by Alembic; the connection comes from :meth:`snakeway.store.Store.migrate`."""

from alembic import context

from snakeway.rows import Table

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    render_as_batch=True,
    compare_type=True,
)
context.run_migrations()
