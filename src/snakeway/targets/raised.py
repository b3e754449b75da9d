"""What the Python code of a rule raised, as the snakemake prints it that runs the job.

Snakemake runs a job with `run:`, and every job elsewhere, under a snakemake of its own, whose exit code is 1 whatever
was raised; so its words are all there is (`run_wrapper` and `format_error`, 9.27).
"""

import re
from dataclasses import replace

from snakeway.model.failure import Facts, Raised

_RAISED = re.compile(
    r'^RuleException:\n(?P<exception>\w{1,100}) in file "(?P<file>[^"\n]{1,1024})", line (?P<line>\d{1,9})'
    r"(?:\.|:\n(?P<message>[^\n]{0,2000})[^\n]*)$",
    re.M,
)
_OF_A_COMMAND = "CalledProcessError"  # the command's own words say more
_IN_RULE = re.compile(r'^ *File "[^"\n]{1,1024}", line \d{1,9}, in __rule_(\w{1,255})$', re.M)
_CLOSING = re.compile(
    r"^(?:Exiting because a job execution failed.*|WorkflowError:|At least one job did not complete successfully\."
    r'| *File "[^"\n]{1,1024}", line \d{1,9}, in \S{1,255})$\n?',
    re.M,
)


def with_raised(facts: Facts, log: str, *, alone: bool) -> Facts:
    """Return the facts with what the job's own code raised, if ``log`` tells that beyond doubt.

    ``alone`` says that no other job printed into ``log``. Elsewhere only exceptions count that came through the code of
    the job's rule, and several different ones are none: there is no telling which of them is whose.
    """
    found: set[Raised] = set()
    end = len(log)
    for told in reversed(list(_RAISED.finditer(log))):
        rules = _IN_RULE.findall(log, told.end(), end)
        end = told.start()
        if told["exception"] != _OF_A_COMMAND and (alone or any(_is_of(facts.rule, name) for name in rules)):
            message = (told["message"] or "").strip()
            found.add(Raised(told["exception"], message, told["file"], int(told["line"])))
    return replace(facts, raised=found.pop()) if len(found) == 1 else facts


def without_closing(text: str) -> str:
    """Return what a snakemake printed without what it says at the end of every failure, and without its tracebacks."""
    return _CLOSING.sub("", text)


def _is_of(rule: str, name: str) -> bool:
    """Whether code of the rule ``name`` may run for ``rule``: a module's rules are used with a prefix."""
    return rule == name or rule.endswith(f"_{name}")
