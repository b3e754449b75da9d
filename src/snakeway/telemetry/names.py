"""Names of spans, attributes and metrics. Dashboards and alerts are written against them: changing one is a break.

Where OpenTelemetry's conventions for CI/CD have a word for the thing they are followed (a workflow is a pipeline, a
job is a task); what only Snakemake has begins with ``snakemake.``. The conventions' own Python constants are not used
because they are marked unstable and may move.
"""

SCOPE = "snakeway"
SERVICE_NAME = "snakeway"

SPAN_RUN = "run"  # then the workflow's name
SPAN_ATTEMPT = "attempt"
SPAN_GATE = "gate"  # then the gate's name
SPAN_QUEUE = "queue"  # then the rule's name
SPAN_JOB = "job"  # then the rule's name
EVENT_LOG = "log"  # the end of a failed job's log, as an event of its span

WORKFLOW = "cicd.pipeline.name"
RUN_ID = "cicd.pipeline.run.id"
RUN_RESULT = "cicd.pipeline.result"
TASK_NAME = "cicd.pipeline.task.name"
TASK_ID = "cicd.pipeline.task.run.id"  # attempt id / job number / try: unlike the job number, unique everywhere
TASK_RESULT = "cicd.pipeline.task.run.result"
ERROR_TYPE = "error.type"  # a class of errors (a signal's name, an exit code), never a message

RULE = "snakemake.rule"
ATTEMPT_ID = "snakemake.attempt"
JOB_ID = "snakemake.job.id"
TRY = "snakemake.try"
WILDCARD = "snakemake.wildcards."  # then the wildcard's name
RESOURCE = "snakemake.resources."  # then the resource's name
THREADS = "snakemake.threads"
REASON = "snakemake.reason"
EXTERNAL_ID = "snakemake.external_id"
QUEUE_S = "snakemake.queue_s"
EXIT_CODE = "snakemake.exit_code"
VERSION = "snakemake.version"
DIRECTORY = "snakemake.directory"
LOG_TEXT = "log.text"

HTTP_METHOD = "http.request.method"
HTTP_ROUTE = "http.route"
HTTP_STATUS = "http.response.status_code"

RUNS_ACTIVE = "snakeway.runs.active"
RUNS_ENDED = "snakeway.runs.ended"
RUN_QUEUE_TIME = "snakeway.run.queue_time"
RUN_DURATION = "snakeway.run.duration"
JOBS_ENDED = "snakeway.jobs.ended"
JOB_QUEUE_TIME = "snakeway.job.queue_time"
JOB_DURATION = "snakeway.job.duration"
METRIC_STATE = "state"
METRIC_RULE = "rule"

ATTEMPT_NUMBER = "snakeway.attempt.number"
ATTEMPT_REASON = "snakeway.attempt.reason"
TARGET = "snakeway.target"
OWNER = "snakeway.owner"
GATE = "snakeway.gate"
VERDICT = "snakeway.gate.verdict"
DECIDED_BY = "snakeway.gate.decided_by"
