"""Our tab in Locust's web UI, and in its start form the choice of a scenario and of the kind of servers.

Locust's own page can only extend itself by tabs of tables. So our tab is a page of its own at `trio-hs/`. A script that we add
to Locust's page shows it below the tab. This process serves all of it; nothing is loaded from elsewhere.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, jsonify, request, send_file
from locust.argument_parser import UIExtraArgOptions
from locust.web import WebUI

from hs_drill._cluster import CLUSTER_KINDS
from hs_drill.report import el, to_html

from ._locust_options import mistake_in_form
from ._owner import Owner

if TYPE_CHECKING:
    from werkzeug.wrappers import Response as AnyResponse

__all__ = ["add_tab", "listen_error"]

HERE = Path(__file__).parent
KEY = "trio-hs"
"""Part of the addresses of the tab and of the page."""
TITLE = "HandlerSocket"
ITS_OWN = "as the scenario says"
"""What the form shows for the scenario's own `cluster.kind`."""
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-ancestors 'self'"


def listen_error(web_ui: WebUI) -> str:
    """Why the web UI cannot listen on its address, or ""."""
    with socket.socket(socket.AF_INET6 if ":" in web_ui.host else socket.AF_INET) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((web_ui.host, web_ui.port))
        except OSError as error:
            where = f"{web_ui.host or '*'}:{web_ui.port}"
            return f"the web UI cannot listen on {where}: {error.strerror}; --web-port chooses another, --headless does without"
    return ""


def add_tab(web_ui: WebUI, session: Owner) -> None:
    """Add the tab and the choice. Call it before the web UI takes its first request."""
    assert web_ui.app is not None
    options = web_ui.environment.parsed_options
    base = (options.web_base_path or "") if options is not None else ""
    web_ui.template_args["extended_tabs"] = [{"title": TITLE, "key": KEY}]
    web_ui.app.register_blueprint(_pages(web_ui, session), url_prefix=f"{base}/{KEY}")
    _offer_scenarios(web_ui, session)

    @web_ui.app.before_request
    def choose() -> AnyResponse | None:
        if request.method != "POST" or request.path != f"{base}/swarm":
            return None

        @web_ui.auth_required_if_enabled  # type: ignore[untyped-decorator]
        def chosen() -> AnyResponse | None:
            kind = request.form.get("cluster")
            refused = mistake_in_form(request.form)
            refused = refused or session.choose(request.form.get("scenario"), "" if kind == ITS_OWN else kind)
            return jsonify({"success": False, "message": refused}) if refused else None

        answer: AnyResponse | None = chosen()
        return answer

    @web_ui.app.after_request
    def add_script(response: AnyResponse) -> AnyResponse:
        if request.path == f"{base}/" and response.mimetype == "text/html" and response.status_code == 200:
            script = f'<script src="./{KEY}/locust_page.js" data-key="{KEY}" data-title="{TITLE}" defer></script></body>'
            response.set_data(response.get_data(as_text=True).replace("</body>", script))
        return response


def _pages(web_ui: WebUI, session: Owner) -> Blueprint:
    pages = Blueprint("trio_hs", __name__)

    def page() -> Response:
        answer = Response(to_html(_page()), mimetype="text/html")
        answer.headers["Content-Security-Policy"] = POLICY
        return answer

    def live() -> Response:
        answer = jsonify(session.live_status())
        answer.headers["Cache-Control"] = "no-store"
        return answer

    def load() -> Response:
        found = session.choice.load_of(request.args.get("scenario", ""))
        return Response("", 404) if found is None else jsonify(found)

    def report(number: int) -> Response:
        path = session.report(number)
        if path is None:
            return Response("There is no report of this run.", 404, mimetype="text/plain")
        return send_file(path.absolute(), mimetype="text/html", max_age=0)

    def file(name: str) -> Response:
        return send_file(HERE / "web" / name, max_age=0)

    rules = [
        ("/", page),
        ("/live", live),
        ("/load", load),
        ("/runs/<int:number>/report", report),
        ("/<any('locust_page.js', 'page.js', 'page.css'):name>", file),
    ]
    for path, view in rules:
        pages.add_url_rule(path, view_func=web_ui.auth_required_if_enabled(view))  # type: ignore[no-untyped-call]
    return pages


def _offer_scenarios(web_ui: WebUI, session: Owner) -> None:
    """Offer scenarios and kinds of servers in the start form, with the current ones as the default."""
    update = web_ui.update_template_args

    def update_and_offer() -> None:
        update()  # type: ignore[no-untyped-call]
        name, kind = session.choice.selection
        options = web_ui.template_args["extra_options"]
        options["scenario"] = _choice("another scenario starts its servers anew", name, session.choice.offered)
        kinds = [one for one in CLUSTER_KINDS if one != "external" or one == kind]
        options["cluster"] = _choice("the kind of servers", kind or ITS_OWN, [ITS_OWN, *kinds])

    web_ui.update_template_args = update_and_offer  # type: ignore[method-assign]


def _choice(help_text: str, chosen: str, choices: list[str]) -> dict[str, Any]:
    return UIExtraArgOptions(
        default_value=chosen, is_secret=False, is_required=False, is_multiple=False, help_text=help_text, choices=choices
    )._asdict()


def _page() -> Any:
    """The page's frame; the script fills it."""

    def part(title: str, id_: str) -> Any:
        return el("section", el("h2", title), el("div", id=id_, class_="wide"), class_="part")

    return el(
        "html",
        el(
            "head",
            el("meta", charset="utf-8"),
            el("meta", name="viewport", content="width=device-width, initial-scale=1"),
            el("title", TITLE),
            el("link", rel="stylesheet", href="page.css"),
        ),
        el(
            "body",
            el("header", el("h1", id="scenario"), el("p", id="about"), el("p", id="phase")),
            el("div", id="verdict", role="status"),
            el("p", id="engine", class_="open", role="status"),
            el("dl", id="tiles"),
            el("div", id="charts"),
            part("Servers, as the clients see them", "servers"),
            part("Operations, over the last five seconds", "operations"),
            part("Faults", "faults"),
            part("Runs since Locust was started", "runs"),
            el("script", src="page.js", defer="defer"),
        ),
        lang="en",
    )
