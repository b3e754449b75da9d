"""What the Python code of a rule raised, as the snakemake prints it that runs the job.

Snakemake runs a job with `run:`, and every job elsewhere, under a snakemake of its own, whose exit code is 1 whatever
was raised; so its words are all there is (`run_wrapper` and `format_error`, 9.27). It prints one exception, and in the
traceback below it the rule that the code was written for; that of a failed command has no traceback.
"""

import re
from dataclasses import replace

from snakeway.model.failure import Facts, Raised

_RAISED = re.compile(
    r'^RuleException:\n(?P<exception>\w{1,100}) in file "(?P<file>[^"\n]{1,1024})", '
    r"line (?P<line>\d{1,9})(?P<then>[.:])$",
    re.M,
)
_COMMAND = re.compile(r"Command '.{0,4000}?' (?:returned non-zero exit status \d{1,3}|died with <[^>\n]{1,100}>)", re.S)
_PLACE = re.compile(r'^ *File "[^"\n]{1,1024}", line \d{1,9}, in (?P<function>\S{1,300})$', re.M)
_CLOSING = re.compile(
    r"^(?:Exiting because a job execution failed.*|WorkflowError:|At least one job did not complete successfully\.)$",
    re.M,
)
_LONGEST_MESSAGE = 2000


def with_raised(facts: Facts, log: str, *, alone: bool) -> Facts:
    """Return the facts with what the job's own code raised, if ``log`` tells one that may be its own only.

    ``alone`` says that what is there only once is of this job. Otherwise, and of several exceptions, only one counts
    that came through the code of the job's rule. A command that failed has said itself why, before Snakemake did, or in
    the job's log; what was called counts if it has not.
    """
    places = list(_RAISED.finditer(log))
    ends = [*(place.start() for place in places[1:]), len(log)]
    found = [(place, log[place.end() : end]) for place, end in zip(places, ends, strict=False)]
    if len(found) > 1 or not alone:
        found = [each for each in found if facts.rule in (rules := _rules(each[1])) or (alone and not rules)]
    raised = {_raised(place, said) for place, said in found}
    if len(raised) != 1:
        return facts
    only = raised.pop()
    if not only.of_a_command:
        return replace(facts, raised=only)
    own = facts.stderr_tail.partition(found[0][0][0])[0]
    silent = not (own.strip() or facts.log_tail.strip() or facts.shell)
    return replace(facts, stderr_tail=own, raised=only if silent else None)


def without_closing(text: str) -> str:
    """Return what a snakemake printed without its words at the end of every failure and the places in tracebacks."""
    return _PLACE.sub("", _CLOSING.sub("", text))


def _rules(said: str) -> list[str]:
    functions: list[str] = _PLACE.findall(said)
    return [name.removeprefix("__rule_") for name in functions if name.startswith("__rule_")]


def _raised(place: re.Match[str], said: str) -> Raised:
    traceback = _PLACE.search(said) or _CLOSING.search(said)
    lines = (line.strip() for line in (said[: traceback.start()] if traceback else said).splitlines())
    message = next(filter(None, lines), "")[:_LONGEST_MESSAGE] if place["then"] == ":" else ""
    raised = Raised(place["exception"], message, place["file"], int(place["line"]))
    command = _COMMAND.search(said) if raised.of_a_command else None
    return replace(raised, message=" ".join(command[0].split())) if command else raised
