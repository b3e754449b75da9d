"""What the Python code of a rule raised, as the snakemake prints it that runs the job.

Snakemake runs a job with `run:`, and every job elsewhere, under a snakemake of its own, whose exit code is 1 whatever
was raised; so its words are all there is (`format_error` in snakemake/exceptions.py, 9.27).
"""

import re
from dataclasses import replace

from snakeway.model.failure import Facts, Raised

_RAISED = re.compile(
    r'^RuleException:\n(?P<exception>\w{1,100})(?: in rule \w{1,255})? in file "(?P<file>[^"\n]{1,1024})", '
    r"line (?P<line>\d{1,9})(?:\.|:\n\s*(?P<message>[^\n]{0,2000}))$",
    re.M,
)
_OF_A_COMMAND = "CalledProcessError"
_IN_RULE = re.compile(r'^ *File "[^"\n]{1,1024}", line \d{1,9}, in __rule_(\w{1,255})$', re.M)


def with_raised(facts: Facts, log: str) -> Facts:
    """Return the facts with what the job's own code raised, if ``log`` tells it, and without that in its own words.

    Jobs beside each other print into one text; what names another rule is not this job's.
    """
    end = len(log)
    for told in reversed(list(_RAISED.finditer(log))):
        rules = _IN_RULE.findall(log, told.end(), end)
        end = told.start()
        if rules and facts.rule not in rules:
            continue
        own = facts.stderr_tail.partition(told[0])[0]
        if told["exception"] == _OF_A_COMMAND and (own.strip() or facts.shell):
            return replace(facts, stderr_tail=own)  # the command's own words say more
        raised = Raised(told["exception"], (told["message"] or "").strip(), told["file"], int(told["line"]))
        return replace(facts, stderr_tail=own, raised=raised)
    return facts
