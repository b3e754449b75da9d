"""The nouns as the server sends them: the JSON objects themselves, typed, so that no member of a newer server is lost.

Times are RFC 3339 text in UTC; members that end in ``_s`` are seconds.
"""

from typing import Any, Generic, TypedDict, TypeVar

T = TypeVar("T")


class Page(TypedDict, Generic[T]):
    """Part of a list; ``next`` is the cursor of the following part, None at the end."""

    items: list[T]
    next: str | None


class JobCounts(TypedDict):
    total: int
    done: int
    failed: int


class Input(TypedDict):
    """An uploaded file; ``reference`` stands for it in configurations, ``offset`` is how many bytes the server has."""

    id: str
    name: str
    state: str
    reference: str
    size_bytes: int
    offset: int
    sha256: str
    owner: str
    created_at: str
    completed_at: str | None
    expires_at: str | None


class RunInput(TypedDict):
    id: str
    path: str
    name: str
    sha256: str
    size_bytes: int


class Run(TypedDict):
    id: str
    state: str
    workflow: str
    digest: str
    source: dict[str, Any]
    target: str
    config: dict[str, Any]
    labels: dict[str, str]
    note: str
    dry_run: bool
    outside: bool
    owner: str
    created_at: str
    started_at: str | None
    ended_at: str | None
    stop_requested_at: str | None
    error: str | None
    jobs: JobCounts
    inputs: list[RunInput]
    trace_id: str


class Overrides(TypedDict, total=False):
    """What one attempt does differently; each maps onto the option of snakemake of the same name."""

    set_resources: dict[str, dict[str, int | str]]
    set_threads: dict[str, int]
    targets: list[str]
    until: list[str]
    forcerun: list[str]
    forceall: bool
    image: str | None


class PlannedJob(TypedDict):
    rule: str
    wildcards: dict[str, str]
    reason: str
    output: list[str]
    threads: int
    resources: dict[str, Any]


class Plan(TypedDict):
    """What a dry run expects an attempt to execute; ``jobs`` is cut short when ``truncated``."""

    total: int
    by_rule: dict[str, int]
    jobs: list[PlannedJob]
    truncated: bool


class Suggestion(TypedDict):
    """What a re-run has to do differently to succeed."""

    set_resources: dict[str, dict[str, int]]


class Failure(TypedDict):
    """Why something failed."""

    kind: str
    summary: str
    exit_code: int | None
    signal: int | None
    host: str | None
    scheduler: str | None
    stderr: str | None
    file: str | None
    line: int | None
    suggestion: Suggestion | None


class Attempt(TypedDict):
    id: str
    run_id: str
    number: int
    state: str
    reason: str
    dry_run: bool
    target: str
    image: str | None
    digest: str
    config: dict[str, Any]
    overrides: Overrides
    plan: Plan | None
    created_at: str
    started_at: str | None
    ended_at: str | None
    exit_code: int | None
    exit_signal: int | None
    error: str | None
    failure: Failure | None
    suggestion: Suggestion | None
    gates_only: bool
    host: str | None
    snakemake_version: str | None
    jobs: JobCounts
    events_lost: int
    rulegraph: dict[str, Any] | None


_Try = TypedDict("_Try", {"try": int})  # the word is Python's own, so it cannot be declared in a class


class Scheduled(TypedDict):
    state: str
    phase: str
    reason: str
    host: str | None
    queued_at: str | None
    started_at: str | None
    ended_at: str | None
    exit_code: int | None
    signal: int | None
    cpus: int | None
    mem_mb: float | None
    cpu_s: float | None
    max_rss_mb: float | None
    final: bool


class RuleEfficiency(TypedDict):
    rule: str
    jobs: int
    cpu_ratio: float | None
    mem_ratio: float | None
    cpus: int | None
    mem_mb: float | None
    max_rss_mb: float | None
    queue_s: float | None
    run_s: float | None
    suggestion: dict[str, Any] | None


class RunEfficiency(TypedDict):
    rules: list[RuleEfficiency]
    cpu_ratio: float | None
    mem_ratio: float | None


class Cost(TypedDict):
    """``amount`` is a decimal number as text, and an estimate; None if there is no price."""

    vcpu_hours: float
    gib_hours: float
    jobs: int
    jobs_running: int
    jobs_unknown: int
    jobs_without_memory: int
    amount: str | None
    currency: str | None
    estimate: bool
    kinds: list[str]
    missing: list[str]


class RuleCost(TypedDict):
    rule: str
    cost: Cost


class AttemptCost(TypedDict):
    attempt: int
    cost: Cost


class RunCost(TypedDict):
    run_id: str
    provisional: bool
    basis: str
    total: Cost
    rules: list[RuleCost]
    attempts: list[AttemptCost]


class GroupCost(TypedDict):
    key: str
    cost: Cost


class Costs(TypedDict):
    """What was summed; ``total`` is that of all items, also of those that are not among ``items``."""

    items: list[GroupCost]
    next: str | None
    by: str
    since: str
    until: str
    basis: str
    total: Cost
    active_runs: int


class CostFilter(TypedDict, total=False):
    """Which cost to sum, and by what: owner, month, workflow, target, rule or run. Months are such as 2026-03."""

    by: str
    since: str | None
    until: str | None
    owner: str | None
    workflow: str | None
    target: str | None


class Job(_Try):
    attempt: int | None
    job: int
    state: str
    rule: str
    wildcards: dict[str, str]
    inputs: list[str]
    outputs: list[str]
    logs: list[str]
    benchmark: str | None
    reason: str
    threads: int
    resources: dict[str, Any]
    shell: str | None
    checkpoint: bool
    submitted_at: str | None
    started_at: str | None
    ended_at: str | None
    external_id: str | None
    held: str | None
    scheduled: Scheduled | None
    scheduler_log: str | None
    exit_code: int | None
    signal: int | None
    message: str | None
    log_tail: str | None
    failure: Failure | None
    tries: list[dict[str, Any]]


class Evidence(TypedDict):
    path: str
    size_bytes: int
    sha256: str


class Gate(TypedDict):
    run_id: str
    name: str
    state: str
    rule: str
    wildcards: dict[str, str]
    title: str
    evidence: list[Evidence]
    digest: str
    schema: dict[str, Any] | None
    asked_at: str
    deadline_at: str | None
    answer: Any
    comment: str
    decided_by: str | None
    decided_at: str | None


class Decision(TypedDict):
    gate: str
    verdict: str
    answer: Any
    comment: str
    digest: str
    decided_by: str
    decided_at: str


class RunGates(TypedDict):
    gates: list[Gate]
    decisions: list[Decision]


class Choice(TypedDict, total=False):
    """The body of a decision; ``gate`` and ``verdict`` have to be there."""

    gate: str
    verdict: str
    answer: Any
    comment: str
    digest: str


class Recording(TypedDict):
    """How far an attempt by hand is recorded; number and state are None while nothing is known of it."""

    run_id: str
    attempt_id: str
    attempt: int | None
    state: str | None
    offset: int
    max_bytes: int


class RuleStates(TypedDict):
    rule: str
    states: dict[str, int]


class Artifact(TypedDict):
    path: str
    kind: str
    size_bytes: int
    mtime: str | None
    sha256: str | None
    rule: str
    attempt: int | None
    job: int


class Workflow(TypedDict):
    name: str
    description: str
    digest: str
    schema: dict[str, Any] | None
    defaults: dict[str, Any]
    source: dict[str, Any]
    error: str | None


class Target(TypedDict):
    name: str
    description: str
    executor: str
    error: str | None


class Health(TypedDict):
    """``status`` is "ok" when each check is; a check that is not says what is wrong."""

    status: str
    checks: dict[str, str]


class Submission(Overrides, total=False):
    """The body of a submission; ``workflow`` is a name, or an object with ``git`` or ``bundle`` in it."""

    workflow: str | dict[str, Any]
    target: str
    config: dict[str, Any]
    labels: dict[str, str]
    note: str
    dry_run: bool
    webhooks: list[str]


class Rerun(Overrides, total=False):
    """The body of a re-run; what is left out stays as it is in the run."""

    config: dict[str, Any]
    target: str
    apply_suggestions: bool
    update_workflow: bool
    dry_run: bool


class RerunAnswer(TypedDict):
    run: Run
    attempt: Attempt


class DecisionAnswer(TypedDict):
    run: Run
    gate: Gate


class DeliveryTry(TypedDict):
    at: str
    status: int | None
    error: str | None
    took_s: float


class Delivery(TypedDict):
    id: str
    type: str
    url: str
    state: str
    try_count: int
    tries: list[DeliveryTry]
    created_at: str
    next_try_at: str | None
    ended_at: str | None


class PruneRule(TypedDict, total=False):
    """Which ended runs are to be removed; ``older_than`` has to be there."""

    older_than: str
    states: list[str]
    labels: dict[str, str]
    workflow: str | None


class PrunedRun(TypedDict):
    id: str
    workflow: str
    state: str
    owner: str
    labels: dict[str, str]
    created_at: str
    ended_at: str | None
    size_bytes: int
    removed: bool


class AuditLine(TypedDict):
    id: str
    at: str
    actor: str
    action: str
    run_id: str
    workflow: str
    owner: str
    details: dict[str, Any]
