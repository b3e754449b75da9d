"""The typed HTTP client: what the command line is made of, and what other programs can use.

    with Client("http://127.0.0.1:8642") as client:
        run = client.submit({"workflow": "quickstart"})
        for event in client.events(run["id"]):
            print(event.type, event.data)

What goes wrong is raised as the class of `snakeway.errors` whose code the server named; a server that does not answer
is ServerUnreachable. Needs httpx and nothing else.
"""

from snakeway.client.bundle import pack
from snakeway.client.events import StreamEvent
from snakeway.client.http import Client
from snakeway.client.nouns import (
    Artifact,
    Attempt,
    AuditLine,
    Choice,
    Cost,
    Costs,
    Decision,
    DecisionAnswer,
    Delivery,
    Evidence,
    Failure,
    Gate,
    Health,
    Input,
    Job,
    JobCounts,
    Overrides,
    Page,
    Plan,
    PlannedJob,
    PrunedRun,
    PruneRule,
    Recording,
    Rerun,
    RerunAnswer,
    RuleStates,
    Run,
    RunCost,
    RunGates,
    RunInput,
    Submission,
    Suggestion,
    Target,
    Workflow,
)
from snakeway.client.transport import Patience

__all__ = [
    "Artifact",
    "Attempt",
    "AuditLine",
    "Choice",
    "Client",
    "Cost",
    "Costs",
    "Decision",
    "DecisionAnswer",
    "Delivery",
    "Evidence",
    "Failure",
    "Gate",
    "Health",
    "Input",
    "Job",
    "JobCounts",
    "Overrides",
    "Page",
    "Patience",
    "Plan",
    "PlannedJob",
    "PruneRule",
    "PrunedRun",
    "Recording",
    "Rerun",
    "RerunAnswer",
    "RuleStates",
    "Run",
    "RunCost",
    "RunGates",
    "RunInput",
    "StreamEvent",
    "Submission",
    "Suggestion",
    "Target",
    "Workflow",
    "pack",
]
