"""GET /openapi.json, and GET /docs: the same as one page that loads nothing from other hosts."""

from collections.abc import Callable
from typing import Any

import orjson
from flask import Blueprint, Response, current_app, render_template_string

from api.edge.auth import public
from api.edge.kept import Kept
from api.edge.operations import describes
from api.edge.shared import answer
from api.spec.openapi import document

EXTENSION = "sendopt.openapi"

blueprint = Blueprint("docs", __name__)

# No script, font or picture from other hosts, and none can be injected.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

# `shown`: the schema of a body as a link, and its example; or the type of a body that is not JSON.
PAGE = """{% macro shown(content) %}{% for type, one in content.items() %}{% if one.schema %}
{% set name = one.schema["$ref"].rsplit("/")[-1] %}<a href="#{{ name }}">{{ name }}</a></p>
<pre>{{ indented(one.example) }}</pre>{% else %} {{ type }}</p>{% endif %}{% endfor %}{% endmacro -%}
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ info.title }} {{ info.version }}</title>
<style>
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --quiet: #5f5f66; --link: #0063a3; --paper: #fefefd;
  --ink: #1a1a1b; }
@media screen and (prefers-color-scheme: dark) {
  :root { --quiet: #a5a5ad; --link: #56b4e9; --paper: #17181b; --ink: #e9e9ec; }
}
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; background: var(--paper);
  color: var(--ink); overflow-wrap: anywhere; }
a { color: var(--link); }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
details { border: 1px solid var(--line); border-radius: 6px; margin: .4rem 0; padding: .4rem .8rem; }
summary { cursor: pointer; } summary b { display: inline-block; min-width: 4.5rem; font-family: monospace; }
code, pre { font-family: ui-monospace, monospace; font-size: .85rem; }
pre { background: var(--soft); padding: .6rem; white-space: pre-wrap; border-radius: 4px; }
small { color: var(--quiet); } table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; vertical-align: top; padding: .2rem .6rem .2rem 0; border-bottom: 1px solid var(--line); }
</style>
</head>
<body>
<main>
<h1>{{ info.title }} <small>{{ info.version }}</small></h1>
<p>{{ info.description }} Machines read <a href="/openapi.json">/openapi.json</a>. Once a key was made, every request
needs <code>Authorization: Bearer &lt;key&gt;</code>, but for those without a scope here. Times are RFC 3339 with an
offset. An unknown field is an error that names it.</p>
{% for tag in tags %}
<h2>{{ tag.name }}</h2>
{% for path, methods in paths.items() %}{% for method, one in methods.items() if one.tags == [tag.name] %}
<details>
<summary><b>{{ method | upper }}</b> <code>{{ path }}</code> {{ one.summary }}
{% if one.security %}<small>scope {{ one.security[0].key[0] }}</small>{% endif %}</summary>
{% if one.parameters %}<table><tr><th>parameter</th><th>in</th><th>meaning</th></tr>
{% for parameter in one.parameters %}<tr><td><code>{{ parameter.name }}</code></td><td>{{ parameter["in"] }}</td>
<td>{{ parameter.description }}</td></tr>{% endfor %}</table>{% endif %}
{% if one.requestBody %}<p>Body:{{ shown(one.requestBody.content) }}{% endif %}
{% for status, response in one.responses.items() if status < "400" %}<p>{{ status }}:{{ shown(response.content) }}
{% endfor %}
<table>{% for status, response in one.responses.items() if status >= "400" %}<tr><td>{{ status }}</td>
<td>{{ response.description }}</td></tr>{% endfor %}</table>
</details>
{% endfor %}{% endfor %}{% endfor %}
<h2>Schemas</h2>
{% for name, schema in schemas.items() %}
<details id="{{ name }}"><summary><code>{{ name }}</code></summary><pre>{{ indented(schema) }}</pre></details>
{% endfor %}
</main>
</body>
</html>
"""


@blueprint.get("/openapi.json")
@public
@describes("Operations", "This document", answers={200: ("application/json",)})
def get_openapi() -> Response:
    return answer(_described())


@blueprint.get("/docs")
@public
@describes("Operations", "This document as a page", answers={200: ("text/html",)})
def get_docs() -> Response:
    page: str = _kept("page", _page)
    return Response(page, content_type="text/html; charset=utf-8", headers={"Content-Security-Policy": POLICY})


def _page() -> str:
    described = _described()
    return render_template_string(
        PAGE,
        info=described["info"],
        tags=described["tags"],
        paths=described["paths"],
        schemas=described["components"]["schemas"],
        indented=_indented,
    )


def _described() -> dict[str, Any]:
    found: dict[str, Any] = _kept("document", lambda: document(current_app))
    return found


def _kept(name: str, make: Callable[[], Any]) -> Any:
    """Made once per application: it takes a tenth of a second, and anybody may ask for it."""
    kept: Kept[Any] = current_app.extensions.setdefault(f"{EXTENSION}-{name}", Kept(make))
    return kept.get()


def _indented(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
