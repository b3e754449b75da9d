"""Small HTML pages without scripts: the API's document and the reference of problems."""

from collections.abc import Iterable
from html import escape
from typing import Any

import msgspec
from litestar import Request
from litestar.openapi.plugins import OpenAPIRenderPlugin

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c2530 }
code, pre { font: 14px/1.4 ui-monospace, monospace } pre { background: #f4f6f8; padding: .8rem; overflow-x: auto }
summary { cursor: pointer; padding: .3rem 0 }
td { vertical-align: top; padding: .1rem 1rem .1rem 0 } h2 { margin-top: 2rem }
"""


def html(title: str, parts: Iterable[str]) -> str:
    """Return a whole page; ``parts`` are HTML already."""
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
        f"<body><h1>{escape(title)}</h1>{''.join(parts)}</body></html>"
    )


class PagePlugin(OpenAPIRenderPlugin):
    """The document as one page that works without a network, unlike Litestar's, which load scripts from elsewhere."""

    def __init__(self) -> None:
        super().__init__(path="/")

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """Return the page."""
        document = msgspec.json.decode(self.render_json(request, openapi_schema))
        info = document["info"]
        parts = [
            f"<p>Version {escape(info['version'])}, as <a href='/schema/openapi.json'>JSON</a> and"
            f" <a href='/schema/openapi.yaml'>YAML</a>; <a href='/problems'>problems</a>.</p>",
            f"<pre>{escape(info['description'])}</pre>",
        ]
        for tag in document["tags"]:
            parts.append(f"<h2>{escape(tag['name'])}</h2><p>{escape(tag['description'])}</p>")
            for path, item in document["paths"].items():
                parts += [
                    _operation(method, path, operation)
                    for method, operation in item.items()
                    if isinstance(operation, dict) and tag["name"] in operation.get("tags", ())
                ]
        return html(f"{info['title']} API", parts).encode()


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    rows = [
        f"<tr><td><code>{escape(each['name'])}</code><td>{each['in']}<td>{escape(each.get('description', ''))}</tr>"
        for each in operation.get("parameters", ())
    ]
    title = f"<code>{method.upper()} {escape(path)}</code> {escape(operation.get('summary', ''))}"
    parts = [
        f"<details><summary>{title}</summary>",
        f"<p>{escape(operation.get('description', ''))}</p><table>{''.join(rows)}</table>",
    ]
    for media in operation.get("requestBody", {}).get("content", {}).values():
        examples = media["schema"].get("examples", ())
        parts += [f"<p>Body, for example</p><pre>{_pretty(value)}</pre>" for value in examples]
    for status, response in operation.get("responses", {}).items():
        parts.append(f"<p><b>{escape(status)}</b></p><pre>{escape(response.get('description', ''))}</pre>")
        for media_type, media in response.get("content", {}).items():
            if media_type == "application/json":
                parts += [f"<pre>{_pretty(each['value'])}</pre>" for each in media.get("examples", {}).values()]
    return "".join([*parts, "</details>"])


def _pretty(value: Any) -> str:
    return escape(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
