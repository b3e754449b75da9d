"""A job that runs under a snakemake of its own, elsewhere: what of that snakemake's log are the job's own words.

That snakemake's exit code says nothing about the job's. What it prints, which a scheduler keeps, has the job's words
between its own.
"""

import re
from dataclasses import replace

from snakeway.model.failure import Facts
from snakeway.model.job import SHELL_SIGNAL_BASE
from snakeway.targets.raised import with_raised
from snakeway.wire import exit_on_node

_MISSING_OUTPUT = "MissingOutputException"
# What it says before and behind the job's own words.
_BEFORE = re.compile(
    r"^(?:snakeway: the job starts at .*|Shell command: .*|Activating .*"
    r"|(?:local)?(?:rule|checkpoint) \w+:(?:\n    .*)*|Job \d+: .*|Reason: .*|Execute \d+ jobs\.\.\.)$\n",
    re.M,
)
_BEHIND = re.compile(
    r"^(?:RuleException:|\[\w{3} \w{3} +\d+ [\d:]+ \d{4}\]\n(?:Error|Finished)|Error in (?:rule|group) "
    r"|Will exit after finishing|Shutting down, this might"
    r"|Exiting because a job execution failed|Waiting at most \d+ seconds)",
    re.MULTILINE,
)
_RULE = re.compile(r"^(?:(?:local)?(?:rule|checkpoint)|Error in rule) (\w+):$", re.M)
_COMMAND = "Shell command: "


def own_words(log: str, shell: str = "") -> str:
    """Return what a job itself wrote: neither Snakemake's lines nor its command."""
    text = log.replace(_COMMAND + shell, _COMMAND, 1)
    behind = _BEHIND.search(text)
    if behind is not None:
        text = text[: behind.start()]
    before = list(_BEFORE.finditer(text))
    return text[before[-1].end() :] if before else text


def as_on_the_node(facts: Facts, log: str) -> Facts:
    """Return the facts with exit code, signal and words of the job's command instead of those of its snakemake.

    ``log`` is what that snakemake printed, without what the scheduler has added to it.
    """
    code, number = facts.exit_code, facts.signal
    told = exit_on_node(log)
    if told is not None:
        number = -told if told < 0 else told - SHELL_SIGNAL_BASE if told > SHELL_SIGNAL_BASE else None
        code = told if number is None else SHELL_SIGNAL_BASE + number
    missing = log.find(_MISSING_OUTPUT)
    own = replace(
        facts,
        exit_code=code,
        signal=number,
        stderr_tail=own_words(log, facts.shell),
        message=log[missing:] if missing >= 0 else "",
    )
    own = with_raised(own, log, alone=set(_RULE.findall(log)) == {facts.rule})  # a group's log names several
    if own.raised is None or own.raised.of_a_command:
        return own
    return replace(own, exit_code=1, signal=None)  # its words may quote a command's, which ``told`` was read from
