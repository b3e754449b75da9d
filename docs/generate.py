"""Fills the parts of the documentation that are made from the code.

    python docs/generate.py            writes them
    python docs/generate.py --check    says which are out of date, and fails if any is

A page holds such a part between two comments, ``<!-- begin generated: NAME -->`` and ``<!-- end generated -->``.
NAME is one of `PARTS`, or ``problem CODE``. What stands outside of them is written by hand.
"""

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, get_args, get_origin

import annotated_types
import typer
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from snakeway import cli, directory
from snakeway.api import problems
from snakeway.api.query import LARGEST_NUMBER
from snakeway.app import Parts, create_app
from snakeway.cli import failures
from snakeway.errors import SnakewayError, StoreBroken, StoreBusy, StoreOutdated, every_error
from snakeway.model import attempt, job, run
from snakeway.settings import RetentionRule, Settings, Webhook
from snakeway.telemetry import names
from snakeway.telemetry.metrics import Metrics

DOCS = Path(__file__).parent
REGION = re.compile(r"(<!-- begin generated: (?P<name>[a-z][a-z_ -]*) -->\n).*?(<!-- end generated -->)", re.DOTALL)

DATABASE_PROBLEMS = {StoreBusy.code, StoreOutdated.code, StoreBroken.code}

Json = Mapping[str, Any]


def main(arguments: Sequence[str]) -> int:
    """Write or check all pages; returns the exit code."""
    check = "--check" in arguments
    stale = [(page, text) for page, text in generated() if page.read_text(encoding="utf-8") != text]
    for page, text in stale:
        if not check:
            page.write_text(text, encoding="utf-8")
        said = "is out of date; run 'python docs/generate.py'" if check else "written"
        sys.stdout.write(f"{page.relative_to(DOCS.parent)} {said}\n")
    return 1 if check and stale else 0


def generated() -> Iterator[tuple[Path, str]]:
    """Yield every page that has generated parts, with these parts made anew."""
    for page in sorted(DOCS.rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        if REGION.search(text):
            yield page, REGION.sub(lambda found: f"{found[1]}\n{make(found['name']).strip()}\n\n{found[3]}", text)


def make(name: str) -> str:
    """Return one part; raises KeyError for a name that is not known."""
    if name.startswith("problem "):
        return problem(problems.EVERY_KIND[name.removeprefix("problem ")])
    return PARTS[name]()


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; texts are in one line each. Raises ValueError if there is nothing to tell."""
    told = list(rows)
    if not told:
        raise ValueError(f"a table of {', '.join(headings)} without rows")
    lines = [headings, ["---"] * len(headings), *told]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)


def code(text: object) -> str:
    """Return text as it is typed."""
    return f"`{text}`"


def settings() -> str:
    """All settings of the server."""
    rows = [
        (code(f"SNAKEWAY_{name.upper()}"), _kind(name, field), _default(field), field.description or "")
        for name, field in Settings.model_fields.items()
    ]
    return table(("Variable", "Value", "Default", "Meaning"), rows)


def _kind(name: str, field: FieldInfo) -> str:
    kinds: dict[Any, str] = {
        Path: "file" if name.endswith("_file") else "folder",
        str: "text",
        int: "whole number",
        float: "seconds" if name.endswith("_s") else "number",
        SecretStr: "text",
        list[str]: "JSON list of texts",
        list[Webhook]: "JSON list of objects",
        list[RetentionRule]: "JSON list of objects",
        bool: "true or false",
        dict[str, str]: "JSON object of texts",
    }
    annotation: Any = _unchecked(field.annotation)
    if annotation not in kinds:  # it may be None
        annotation = next(_unchecked(kind) for kind in get_args(annotation) if kind is not NoneType)
    return ", ".join([kinds[annotation], *_bounds(field.metadata)])


def _unchecked(annotation: Any) -> Any:
    """Return a type without the checks that are made of its values."""
    if get_origin(annotation) is Annotated:
        return get_args(annotation)[0]
    if get_origin(annotation) is dict:
        return dict[tuple(_unchecked(member) for member in get_args(annotation))]  # type: ignore[misc]
    return list[_unchecked(get_args(annotation)[0])] if get_origin(annotation) is list else annotation  # type: ignore[misc]


def _bounds(metadata: Iterable[object]) -> Iterator[str]:
    for bound in metadata:
        match bound:
            case annotated_types.Ge(ge):
                yield f"≥ {ge}"
            case annotated_types.Gt(gt):
                yield f"> {gt}"
            case annotated_types.Le(le):
                yield f"≤ {le}"
            case annotated_types.MinLen(length):
                yield f"at least {length} character{'s' if length > 1 else ''}"


def _default(field: FieldInfo) -> str:
    value = field.default
    return "not set" if value is None else code(_json_list(value) if isinstance(value, list) else value)


def _json_list(values: Iterable[str]) -> str:
    return "[" + ", ".join(f'"{value}"' for value in values) + "]"


def commands() -> str:
    """All commands of the command line, with arguments and options."""
    group: Any = typer.main.get_command(cli.app)
    with group.make_context("snakeway", [], resilient_parsing=True) as context:
        parts = []
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            with command.make_context(name, [], parent=context, resilient_parsing=True) as inner:
                parts += [
                    f"## snakeway {name}",
                    "```text",
                    _usage(command, inner),
                    "```",
                    inspect.cleandoc(command.help),
                ]
                parts += [_option(*record) for record in _records(command, inner)]
    return "\n\n".join(parts).replace("```text\n\n", "```text\n").replace("\n\n```\n", "\n```\n")


def _usage(command: Any, context: Any) -> str:
    return " ".join(["snakeway", context.info_name, *command.collect_usage_pieces(context)])


def _records(command: Any, context: Any) -> Iterator[tuple[str, str]]:
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and "--help" not in parameter.opts:
            yield record


def _option(names_: str, meaning: str) -> str:
    return f"{code(names_)}\n:   {meaning}"


def exit_codes() -> str:
    """All exit codes of the command line."""
    found = re.findall(r"^(\d[\d, ]*?) {2,}(.+)$", inspect.cleandoc(failures.__doc__ or ""), re.MULTILINE)
    return table(("Code", "Meaning"), [(numbers, _sentence(meaning)) for numbers, meaning in found])


def routes() -> str:
    """All routes of the API."""
    document = openapi()
    every = [operation for operations in document["paths"].values() for operation in operations.values()]
    common = set.intersection(*(set(_codes(operation)) for operation in every)) | DATABASE_PROBLEMS
    parts = [f"Any route can answer with {', '.join(map(_problem_link, sorted(common)))}; this is not repeated below."]
    for tag in document["tags"]:
        parts.append(f"## {tag['name'].capitalize()}\n\n{tag['description']}")
        for path, operations in sorted(document["paths"].items()):
            of_tag = {method: each for method, each in operations.items() if tag["name"] in each.get("tags", ())}
            head = of_tag.pop("head", None)  # answers as GET does, without the body
            for method in sorted(of_tag, key=("get", "post", "put", "patch", "delete").index):
                methods = ["GET", "HEAD"] if head and method == "get" else [method.upper()]
                parts.append(_route(methods, path, of_tag[method], common))
    return "\n\n".join(parts)


def openapi() -> Json:
    """Return the OpenAPI document of the application."""
    nobody: Any = None
    schema: Json = create_app(Parts(Settings.model_construct(), nobody, nobody)).openapi_schema.to_schema()
    return schema


def _codes(operation: Json) -> Iterator[str]:
    for answer in operation["responses"].values():
        yield from answer.get("content", {}).get(problems.MEDIA_TYPE, {}).get("examples", ())


def _problem_link(name: str) -> str:
    return f"[`{name}`](problems.md#{name})"


def _route(methods: Sequence[str], path: str, operation: Json, common: set[str]) -> str:
    parts = [f"### {operation['summary']}", f"`{' '.join(methods)} {path}`", operation.get("description", "")]
    parameters = operation.get("parameters", [])
    if parameters:
        rows = [
            (code(each["name"]), each["in"], _type_and_bounds(each["schema"]), _meaning(each))
            for each in sorted(parameters, key=lambda each: ("path", "query", "header").index(each["in"]))
        ]
        parts.append(table(("Parameter", "In", "Type", "Meaning"), rows))
    if "requestBody" in operation:
        parts.append(f"Body: {_content(operation['requestBody'])}.")
    answers = [_answer(status, answer, common) for status, answer in sorted(operation["responses"].items())]
    parts.append("\n".join(line for line in answers if line))
    return "\n\n".join(filter(None, parts))


def _meaning(parameter: Json) -> str:
    text = parameter.get("description") or parameter["schema"].get("description") or ""
    return f"{text} Needed." if parameter.get("required") and parameter["in"] != "path" else text


def _answer(status: str, answer: Json, common: set[str]) -> str:
    codes = answer.get("content", {}).get(problems.MEDIA_TYPE, {}).get("examples")
    if codes:
        own = [_problem_link(name) for name in codes if name not in common]
        return f"- {status}: {', '.join(own)}" if own else ""
    shape = _content(answer)
    return f"- {status}: {shape}. {answer['description']}" if shape else f"- {status}: {answer['description']}"


def _content(holder: Json) -> str:
    for media_type, content in holder.get("content", {}).items():
        if media_type == "application/json":
            return _type(content["schema"])
        return code(media_type)
    return ""


def shapes() -> str:
    """All objects that the API takes and gives."""
    schemas = openapi()["components"]["schemas"]
    parts = []
    for name, schema in sorted(schemas.items()):
        parts.append(f"### {name}")
        if "enum" in schema:
            parts.append(_type(schema))
            continue
        required = schema.get("required", ())
        rows = [
            (code(member) + ("" if member in required else " (optional)"), _type(each), _described(each))
            for member, each in schema.get("properties", {}).items()
        ]
        parts.append(table(("Member", "Type", "Meaning"), rows))
    return "\n\n".join(parts)


def _described(schema: Json) -> str:
    if "description" in schema:
        return str(schema["description"])
    return next((str(each["description"]) for each in schema.get("oneOf", ()) if "description" in each), "")


def _type(schema: Json) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for either in ("oneOf", "anyOf", "allOf"):
        if either in schema:
            return " or ".join(dict.fromkeys(map(_type, schema[either])))
    if "enum" in schema:
        return ", ".join(code(value) for value in schema["enum"])
    if "const" in schema:
        return code(schema["const"])
    kind = schema.get("type", "anything")
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if isinstance(schema.get("additionalProperties"), Mapping) and schema["additionalProperties"]:
        return f"object of {_type(schema['additionalProperties'])}"
    return (
        " or ".join(kind) if isinstance(kind, list) else f"{kind} ({schema['format']})" if "format" in schema else kind
    )


def _type_and_bounds(schema: Json) -> str:
    said = [_type(schema)]
    for each in (schema, *schema.get("oneOf", ())):
        said += [f"≥ {each['minimum']:g}"] if "minimum" in each else []
        said += [f"≤ {each['maximum']:g}"] if each.get("maximum", LARGEST_NUMBER) != LARGEST_NUMBER else []
        said += [f"default {each['default']}"] if each.get("default") is not None else []
    return ", ".join(said)


def problem(kind: problems.Kind) -> str:
    """What a problem is, in code; what to do about it is written by hand."""
    classes = [cls for cls in every_error() if cls.code == kind.code]
    facts = [f"Status {kind.status}", f"title “{kind.title}”"]
    facts += [f"exit code {failures.exit_code(cls(''))} of the command line" for cls in classes]
    return f"{', '.join(facts)}.\n\n{_without_markup(kind.meaning)}"


def error_tree() -> str:
    """The codes, from the general to the particular."""

    def lines(cls: type[SnakewayError], depth: int) -> Iterator[str]:
        yield f"{'    ' * depth}- [`{cls.code}`](#{cls.code}): {cls.title}"
        for below in cls.__subclasses__():
            yield from lines(below, depth + 1)

    of_classes = {cls.code for cls in every_error()}
    others = [kind for name, kind in problems.EVERY_KIND.items() if name not in of_classes]
    return "\n".join([*lines(SnakewayError, 0), *(f"- [`{kind.code}`](#{kind.code}): {kind.title}" for kind in others)])


def metrics() -> str:
    """All metrics, as OpenTelemetry and as Prometheus call them."""
    kept = Metrics()
    kept.active_runs(1)
    kept.run_ended("succeeded", 1, 1)
    kept.job_ended("succeeded", "rule", 1, 1)
    page = kept.prometheus().decode()
    kept.close()
    rows = []
    for name, said, kind in re.findall(r"^# HELP (\S+) (.*)\n# TYPE \S+ (\S+)$", page, re.MULTILINE):
        sample = re.search(rf"^{name}\S*?\{{(.*)\}} ", page, re.MULTILINE)
        labels = [label for label in re.findall(r'(\w+)="', sample[1] if sample else "") if label not in ("le",)]
        known = next((each for each in METRIC_NAMES if _is_named(name, each)), None)
        if known is not None:
            rows.append((code(known), code(name), kind, ", ".join(map(code, labels)) or "none", said))
    return table(("OpenTelemetry", "Prometheus", "Kind", "Labels", "Meaning"), rows)


METRIC_NAMES = [value for name, value in vars(names).items() if name.isupper() and str(value).startswith("snakeway.")]


def _is_named(prometheus: str, known: str) -> bool:
    return re.fullmatch(rf"{known.replace('.', '_')}(_seconds)?(_total)?", prometheus) is not None


def files() -> str:
    """The files of a run."""
    tree = (directory.__doc__ or "").split("\n\n")[1]
    return f"```text\n{inspect.cleandoc(tree)}\n```"


def states(enum: type[StrEnum]) -> str:
    """The states of a noun, as the docstring of its enum explains them."""
    text = inspect.cleandoc(enum.__doc__ or "").partition("\n\n")[2]
    rows: list[list[str]] = []
    for line in text.splitlines():
        begins = re.match(r"([A-Z]+(?:, [A-Z]+)*) +(.+)", line)
        if begins:
            rows.append([", ".join(code(enum[name]) for name in begins[1].split(", ")), begins[2]])
        elif rows:
            rows[-1][1] += f" {line.strip()}"
    return table(("State", "Meaning"), [(state, _sentence(meaning)) for state, meaning in rows])


def moves(enum: type[StrEnum], allowed: Mapping[Any, frozenset[Any]]) -> str:
    """A table of moves."""
    targets = {old: [code(new) for new in enum if new in allowed[old]] for old in enum}
    return table(
        ("From", "To"), [(code(old), ", ".join(new) or "nothing: it is an end") for old, new in targets.items()]
    )


def outcomes() -> str:
    """How the end of an attempt is judged."""
    ends = {
        "`exit.json` with exit code 0": attempt.Exit("run", 0, None, 0.0),
        "`exit.json` with another exit code": attempt.Exit("run", 1, None, 0.0),
        "`exit.json` with a signal": attempt.Exit("run", None, 9, 0.0),
        "no `exit.json`, and the process is gone": None,
    }
    rows = [
        (said, *(code(attempt.outcome(end, stop_requested=asked)) for asked in (False, True)))
        for said, end in ends.items()
    ]
    return table(("What is found", "Nobody asked for a stop", "Somebody asked for a stop"), rows)


def settled() -> str:
    """The state of a run from that of its newest attempt."""
    return table(
        ("Newest attempt", "Run"), [(code(state), code(run.settle([(state, False)]))) for state in attempt.AttemptState]
    )


def decisions() -> str:
    """The list of decisions."""
    rows = []
    for page in sorted((DOCS / "decisions").glob("[0-9]*.md")):
        title, date = re.findall(r"^# (.+)$|^\*(.+), .+\*$", page.read_text(encoding="utf-8"), re.MULTILINE)[:2]
        number, _, name = title[0].partition(" ")
        rows.append((number, f"[{name}]({page.name})", date[1]))
    return table(("", "Decision", "Date"), rows)


def _sentence(text: str) -> str:
    text = _without_markup(" ".join(text.split()))
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _without_markup(text: str) -> str:
    """Turn the markup of docstrings into that of the pages."""
    return re.sub(r"``(.+?)``", r"`\1`", re.sub(r":\w+:`(.+?)`", r"`\1`", text))


PARTS: dict[str, Callable[[], str]] = {
    "settings": settings,
    "commands": commands,
    "exit codes": exit_codes,
    "routes": routes,
    "shapes": shapes,
    "error tree": error_tree,
    "metrics": metrics,
    "files": files,
    "attempt states": lambda: states(attempt.AttemptState),
    "attempt moves": lambda: moves(attempt.AttemptState, attempt.MOVES),
    "attempt outcomes": outcomes,
    "run states": lambda: states(run.RunState),
    "run moves": lambda: moves(run.RunState, run.MOVES),
    "run settled": settled,
    "job states": lambda: states(job.JobState),
    "decisions": decisions,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
