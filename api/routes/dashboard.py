"""GET /: the dashboard, a page that loads only from this host. The page is public; its data needs a key."""

from importlib.resources import files

from flask import Blueprint, Response, abort

from api.edge.auth import public
from api.edge.operations import describes

CONTENT_TYPES = {
    "dashboard.html": "text/html; charset=utf-8",
    "dashboard.css": "text/css; charset=utf-8",
    "dashboard.js": "text/javascript; charset=utf-8",
    "charts.js": "text/javascript; charset=utf-8",
}
# Nothing from other hosts, nothing inline, in no frame: a user id on the page can never become active markup.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}

blueprint = Blueprint("dashboard", __name__)


@blueprint.get("/")
@public
@describes("Operations", "The dashboard", answers={200: ("text/html",)})
def get_dashboard() -> Response:
    return _page("dashboard.html")


@blueprint.get("/pages/<name>")
@public
@describes(
    "Operations",
    "A part of the dashboard: its style or a script",
    answers={200: ("text/html", "text/css", "text/javascript")},
    errors=(404,),
)
def get_page(name: str) -> Response:
    return _page(name)


def _page(name: str) -> Response:
    if name not in CONTENT_TYPES:
        abort(404)
    content = files("api").joinpath("pages", name).read_bytes()
    return Response(content, content_type=CONTENT_TYPES[name], headers=HEADERS)
