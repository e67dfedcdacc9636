"""The published site, built once per run (build.py), served on a free port of this machine, and opened in Debian's Chromium."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import threading
from pathlib import Path

import pytest

from tests.site.build import ROOT, published

DOCS = ROOT / "docs"
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PAGES = sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))


def url_of(source: str) -> str:
    """docs/chapters/09-latent-diffusion.md is served at chapters/09-latent-diffusion/."""
    path = source.removesuffix(".md")
    return path.removesuffix("index") if path.split("/")[-1] == "index" else f"{path}/"


@pytest.fixture(scope="session")
def site(published_in) -> Path:
    given = os.environ.get("SITE_DIR")                      # a site that was built before, to look at it again quickly
    return Path(given) if given else published(published_in)


@pytest.fixture(scope="session")
def served(site):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict:
    if CHROMIUM is None:
        reason = "no Chromium here: `apt install chromium`, or set CHROMIUM to its path"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    return {"executable_path": CHROMIUM,                    # names resolve to nothing: a page that needs the network fails
            "args": ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]}


ABORTED = "net::ERR_ABORTED"                                # the page was left while something of it was still on its way

VIEWS = {
    "light": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 800}, "color_scheme": "light"},
}


@pytest.fixture(scope="session")
def contexts(browser) -> dict:
    return {name: browser.new_context(**options) for name, options in VIEWS.items()}


class Visit:
    """A page and everything that went wrong on it."""

    def __init__(self, page, base: str):
        self.page, self.base, self.wrong, self.bytes = page, base, [], 0
        page.on("console", lambda m: m.type in ("error", "warning") and self.wrong.append(f"console: {m.text}"))
        page.on("pageerror", lambda error: self.wrong.append(f"script: {error}"))
        page.on("requestfailed", lambda r: r.failure == ABORTED or self.wrong.append(f"failed: {r.url} ({r.failure})"))
        page.on("request", lambda r: r.url.startswith((base, "data:", "blob:", "file:")) or self.wrong.append(f"foreign: {r.url}"))
        page.on("response", lambda r: r.status >= 400 and self.wrong.append(f"{r.status}: {r.url}"))

    def open(self, path: str):
        self.page.goto(self.base + path)
        self.ready()
        return self.page

    def ready(self) -> None:
        self.page.wait_for_function("document.documentElement.dataset.math === 'ready'")


@pytest.fixture
def visit(contexts, served):
    opened = []

    def start(view: str = "light") -> Visit:
        opened.append(Visit(contexts[view].new_page(), served))
        return opened[-1]

    yield start
    for each in opened:
        each.page.close()
