"""Spans and metrics: every name, and what sends them.

A run is one trace, whichever process tells of which part::

    (span of the caller, if it sent a traceparent)
    └── run WORKFLOW          told by the supervisor, or by the logger plugin when snakemake was started by hand
        └── attempt           likewise
            └── job RULE      told by the logger plugin; one for each try of a job

Span ids are derived from the ids of run, attempt and job. So whoever tells of a span knows its parent without having
seen it, and a span that is told twice is the same span.

Importing this package costs nothing: OpenTelemetry is imported when the first span is sent, which happens only if the
standard variables name a collector (`configured`). `snakeway.telemetry.metrics` is for the server and imports it.
"""

from snakeway.telemetry.spans import Result, SpanRef, Spans, attempt_ref, configured, job_ref, run_ref

__all__ = ["Result", "SpanRef", "Spans", "attempt_ref", "configured", "job_ref", "run_ref"]
