"""first schema."""

import sqlalchemy as sa
from alembic import op

import snakeway.rows

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:

    op.create_table(
        "run",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("workflow", sa.String(length=255), nullable=False),
        sa.Column("digest", sa.String(length=71), nullable=False),
        sa.Column("source", sa.JSON(), nullable=False),
        sa.Column("target", sa.String(length=255), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("dry_run", sa.Boolean(), nullable=False),
        sa.Column("outside", sa.Boolean(), nullable=False),
        sa.Column("traceparent", sa.String(length=64), nullable=True),
        sa.Column("created_at", snakeway.rows.UtcDateTime(timezone=True), nullable=False),
        sa.Column("started_at", snakeway.rows.UtcDateTime(timezone=True), nullable=True),
        sa.Column("ended_at", snakeway.rows.UtcDateTime(timezone=True), nullable=True),
        sa.Column("stop_requested_at", snakeway.rows.UtcDateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("jobs_total", sa.Integer(), nullable=False),
        sa.Column("jobs_done", sa.Integer(), nullable=False),
        sa.Column("jobs_failed", sa.Integer(), nullable=False),
        sa.Column("webhooks", sa.JSON(), nullable=False),
        sa.Column("inputs", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("run", schema=None) as batch_op:
        batch_op.create_index("ix_run_owner", ["owner", "id"], unique=False)
        batch_op.create_index("ix_run_state", ["state", "id"], unique=False)
        batch_op.create_index("ix_run_target", ["target", "id"], unique=False)
        batch_op.create_index("ix_run_workflow", ["workflow", "id"], unique=False)

    op.create_table(
        "input",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("created_at", snakeway.rows.UtcDateTime(timezone=True), nullable=False),
        sa.Column("updated_at", snakeway.rows.UtcDateTime(timezone=True), nullable=False),
        sa.Column("completed_at", snakeway.rows.UtcDateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("input", schema=None) as batch_op:
        batch_op.create_index("ix_input_owner", ["owner", "id"], unique=False)
        batch_op.create_index("ix_input_content", ["owner", "sha256"], unique=False)
        batch_op.create_index("ix_input_state", ["state", "updated_at"], unique=False)

    op.create_table(
        "run_input",
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.Column("input_id", sa.String(length=36), nullable=False),
        sa.ForeignKeyConstraint(["input_id"], ["input.id"]),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "input_id"),
    )
    with op.batch_alter_table("run_input", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_run_input_input_id"), ["input_id"], unique=False)

    op.create_table(
        "supervisor",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("started_at", snakeway.rows.UtcDateTime(timezone=True), nullable=False),
        sa.Column("seen_at", snakeway.rows.UtcDateTime(timezone=True), nullable=False),
        sa.Column("active", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "artifact",
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.Column("path", sa.String(length=1024), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("storage_url", sa.Text(), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("mtime", sa.Float(), nullable=False),
        sa.Column("etag", sa.String(length=255), nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("rule", sa.String(length=255), nullable=False),
        sa.Column("attempt_id", sa.String(length=36), nullable=False),
        sa.Column("job_number", sa.Integer(), nullable=False),
        sa.Column("created_at", snakeway.rows.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "path"),
    )
    with op.batch_alter_table("artifact", schema=None) as batch_op:
        batch_op.create_index("ix_artifact_kind", ["run_id", "kind", "path"], unique=False)

    op.create_table(
        "requested",
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=1024), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "name"),
    )
    op.create_table(
        "attempt",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=16), nullable=False),
        sa.Column("dry_run", sa.Boolean(), nullable=False),
        sa.Column("wants_plan", sa.Boolean(), nullable=False),
        sa.Column("target", sa.String(length=255), nullable=False),
        sa.Column("executor", sa.String(length=255), nullable=True),
        sa.Column("storage_url", sa.Text(), nullable=True),
        sa.Column("image", sa.Text(), nullable=True),
        sa.Column("digest", sa.String(length=71), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("overrides", sa.JSON(), nullable=False),
        sa.Column("plan", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("lease_owner", sa.String(length=36), nullable=True),
        sa.Column("lease_expires_at", snakeway.rows.UtcDateTime(timezone=True), nullable=True),
        sa.Column("heard_at", snakeway.rows.UtcDateTime(timezone=True), nullable=True),
        sa.Column("process", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("created_at", snakeway.rows.UtcDateTime(timezone=True), nullable=False),
        sa.Column("started_at", snakeway.rows.UtcDateTime(timezone=True), nullable=True),
        sa.Column("ended_at", snakeway.rows.UtcDateTime(timezone=True), nullable=True),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("exit_signal", sa.Integer(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("failure", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("suggestion", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("gates_only", sa.Boolean(), nullable=False),
        sa.Column("gates_cancelled", sa.Boolean(), nullable=False),
        sa.Column("events_offset", sa.BigInteger(), nullable=False),
        sa.Column("events_lost", sa.Integer(), nullable=False),
        sa.Column("snakemake_version", sa.String(length=32), nullable=True),
        sa.Column("host", sa.String(length=255), nullable=True),
        sa.Column("rulegraph", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("jobs_total", sa.Integer(), nullable=False),
        sa.Column("jobs_done", sa.Integer(), nullable=False),
        sa.Column("jobs_failed", sa.Integer(), nullable=False),
        sa.Column("collect_owner", sa.String(length=36), nullable=True),
        sa.Column("books_until", snakeway.rows.UtcDateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("run_id", "number"),
    )
    with op.batch_alter_table("attempt", schema=None) as batch_op:
        batch_op.create_index("ix_attempt_collect", ["collect_owner", "id"], unique=False)
        batch_op.create_index("ix_attempt_books", ["books_until"], unique=False)
        batch_op.create_index("ix_attempt_lease", ["state", "lease_expires_at"], unique=False)
        batch_op.create_index("ix_attempt_queue", ["state", "owner", "id"], unique=False)

    op.create_table(
        "gate",
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=1024), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempt_id", sa.String(length=36), nullable=False),
        sa.Column("job_number", sa.Integer(), nullable=False),
        sa.Column("rule", sa.String(length=255), nullable=False),
        sa.Column("wildcards", sa.JSON(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("evidence", sa.JSON(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("answer_schema", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("asked_at", snakeway.rows.UtcDateTime(timezone=True), nullable=False),
        sa.Column("deadline_at", snakeway.rows.UtcDateTime(timezone=True), nullable=True),
        sa.Column("answer", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("decided_by", sa.String(length=255), nullable=True),
        sa.Column("decided_at", snakeway.rows.UtcDateTime(timezone=True), nullable=True),
        sa.Column("pending", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "name"),
    )
    op.create_index("ix_gate_deadline", "gate", ["state", "deadline_at"], unique=False)
    op.create_index("ix_gate_state", "gate", ["state", "run_id"], unique=False)
    op.create_table(
        "decision",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.Column("gate", sa.String(length=1024), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("answer", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("decided_by", sa.String(length=255), nullable=False),
        sa.Column("decided_at", snakeway.rows.UtcDateTime(timezone=True), nullable=False),
        sa.Column("asked_at", snakeway.rows.UtcDateTime(timezone=True), nullable=False),
        sa.Column("told", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_decision_gate", "decision", ["run_id", "gate", "id"], unique=False)
    op.create_index("ix_decision_told", "decision", ["told", "id"], unique=False)
    op.create_table(
        "idempotency",
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("request_digest", sa.String(length=64), nullable=False),
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.Column("created_at", snakeway.rows.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("owner", "key"),
    )
    with op.batch_alter_table("idempotency", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_idempotency_run_id"), ["run_id"], unique=False)

    op.create_table(
        "run_label",
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.Column("key", sa.String(length=63), nullable=False),
        sa.Column("value", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "key"),
    )
    with op.batch_alter_table("run_label", schema=None) as batch_op:
        batch_op.create_index("ix_run_label", ["key", "value", "run_id"], unique=False)

    op.create_table(
        "job",
        sa.Column("attempt_id", sa.String(length=36), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("try_number", sa.Integer(), nullable=False),
        sa.Column("rule", sa.String(length=255), nullable=False),
        sa.Column("wildcards", sa.JSON(), nullable=False),
        sa.Column("inputs", sa.JSON(), nullable=False),
        sa.Column("outputs", sa.JSON(), nullable=False),
        sa.Column("directories", sa.JSON(), nullable=False),
        sa.Column("logs", sa.JSON(), nullable=False),
        sa.Column("benchmark", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("threads", sa.Integer(), nullable=False),
        sa.Column("resources", sa.JSON(), nullable=False),
        sa.Column("shell", sa.Text(), nullable=True),
        sa.Column("checkpoint", sa.Boolean(), nullable=False),
        sa.Column("submitted_at", sa.Float(), nullable=True),
        sa.Column("started_at", sa.Float(), nullable=True),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.Column("external_id", sa.String(length=255), nullable=True),
        sa.Column("held", sa.String(length=255), nullable=True),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("signal", sa.Integer(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("log_tail", sa.Text(), nullable=True),
        sa.Column("failure_kind", sa.String(length=32), nullable=True),
        sa.Column("failure", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("scheduler_log", sa.Text(), nullable=True),
        sa.Column("scheduled", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("accounted", sa.Boolean(), nullable=False),
        sa.Column("local", sa.Boolean(), nullable=False),
        sa.Column("tries", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempt.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("attempt_id", "number"),
    )
    with op.batch_alter_table("job", schema=None) as batch_op:
        batch_op.create_index("ix_job_rule", ["attempt_id", "rule", "number"], unique=False)
        batch_op.create_index("ix_job_run", ["run_id", "attempt_id", "number"], unique=False)
        batch_op.create_index("ix_job_state", ["attempt_id", "state", "number"], unique=False)

    op.create_table(
        "delivery",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("of_run", sa.Boolean(), nullable=False),
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("try_count", sa.Integer(), nullable=False),
        sa.Column("tries", sa.JSON(), nullable=False),
        sa.Column("created_at", snakeway.rows.UtcDateTime(timezone=True), nullable=False),
        sa.Column("next_try_at", snakeway.rows.UtcDateTime(timezone=True), nullable=True),
        sa.Column("ended_at", snakeway.rows.UtcDateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("delivery", schema=None) as batch_op:
        batch_op.create_index("ix_delivery_due", ["state", "next_try_at"], unique=False)
        batch_op.create_index("ix_delivery_run", ["run_id", "id"], unique=False)

    op.create_table(
        "audit",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("at", snakeway.rows.UtcDateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.Column("workflow", sa.String(length=255), nullable=False),
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("audit", schema=None) as batch_op:
        batch_op.create_index("ix_audit_run", ["run_id", "id"], unique=False)

    op.create_table(
        "usage",
        sa.Column("attempt_id", sa.String(length=36), nullable=False),
        sa.Column("rule", sa.String(length=255), nullable=False),
        sa.Column("month", sa.String(length=7), nullable=False),
        sa.Column("target", sa.String(length=255), nullable=False),
        sa.Column("queue", sa.String(length=255), nullable=False),
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("workflow", sa.String(length=255), nullable=False),
        sa.Column("cpu_ms", sa.BigInteger(), nullable=False),
        sa.Column("mem_mib_ms", sa.BigInteger(), nullable=False),
        sa.Column("jobs", sa.Integer(), nullable=False),
        sa.Column("jobs_unknown", sa.Integer(), nullable=False),
        sa.Column("jobs_without_memory", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("attempt_id", "rule", "month", "target", "queue"),
    )
    with op.batch_alter_table("usage", schema=None) as batch_op:
        batch_op.create_index("ix_usage_month", ["month"], unique=False)
        batch_op.create_index("ix_usage_owner", ["owner", "month"], unique=False)
        batch_op.create_index("ix_usage_run", ["run_id"], unique=False)


def downgrade() -> None:

    with op.batch_alter_table("usage", schema=None) as batch_op:
        batch_op.drop_index("ix_usage_run")
        batch_op.drop_index("ix_usage_owner")
        batch_op.drop_index("ix_usage_month")

    op.drop_table("usage")
    with op.batch_alter_table("audit", schema=None) as batch_op:
        batch_op.drop_index("ix_audit_run")

    op.drop_table("audit")
    with op.batch_alter_table("delivery", schema=None) as batch_op:
        batch_op.drop_index("ix_delivery_run")
        batch_op.drop_index("ix_delivery_due")

    op.drop_table("delivery")
    with op.batch_alter_table("job", schema=None) as batch_op:
        batch_op.drop_index("ix_job_state")
        batch_op.drop_index("ix_job_run")
        batch_op.drop_index("ix_job_rule")

    op.drop_table("job")
    with op.batch_alter_table("run_label", schema=None) as batch_op:
        batch_op.drop_index("ix_run_label")

    op.drop_table("run_label")
    with op.batch_alter_table("idempotency", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_idempotency_run_id"))

    op.drop_table("idempotency")
    with op.batch_alter_table("attempt", schema=None) as batch_op:
        batch_op.drop_index("ix_attempt_queue")
        batch_op.drop_index("ix_attempt_lease")
        batch_op.drop_index("ix_attempt_collect")
        batch_op.drop_index("ix_attempt_books")

    op.drop_table("attempt")
    op.drop_table("requested")
    with op.batch_alter_table("artifact", schema=None) as batch_op:
        batch_op.drop_index("ix_artifact_kind")

    op.drop_table("artifact")
    op.drop_table("supervisor")
    with op.batch_alter_table("run_input", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_run_input_input_id"))

    op.drop_table("run_input")
    with op.batch_alter_table("input", schema=None) as batch_op:
        batch_op.drop_index("ix_input_state")
        batch_op.drop_index("ix_input_content")
        batch_op.drop_index("ix_input_owner")

    op.drop_table("input")
    with op.batch_alter_table("run", schema=None) as batch_op:
        batch_op.drop_index("ix_run_workflow")
        batch_op.drop_index("ix_run_target")
        batch_op.drop_index("ix_run_state")
        batch_op.drop_index("ix_run_owner")

    op.drop_table("run")
