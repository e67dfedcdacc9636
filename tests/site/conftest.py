"""The published site, built once per run, served on a free port of this machine, and opened in Debian's Chromium."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from filelock import FileLock

from course.site import finish

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PAGES = sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))


def url_of(source: str) -> str:
    """docs/chapters/09-latent-diffusion.md is served at chapters/09-latent-diffusion/."""
    path = source.removesuffix(".md")
    return path.removesuffix("index") if path.split("/")[-1] == "index" else f"{path}/"


def build(out: Path, config: Path = ROOT / "mkdocs.yml", **env: str) -> Path:
    """`mkdocs build --strict` into `out`. Not quiet: with -q, --strict lets broken links pass."""
    if config.parent == ROOT:
        subprocess.run([sys.executable, "-m", "course.site"], cwd=ROOT, check=True)
    done = subprocess.run([sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config), "-d", str(out)], cwd=ROOT, text=True,
                          capture_output=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "OMP_NUM_THREADS": "1", **env})
    assert done.returncode == 0, f"mkdocs build --strict failed:\n{done.stdout[-4000:]}\n{done.stderr[-6000:]}"
    finish(out)
    return out


@pytest.fixture(scope="session")
def site(tmp_path_factory, worker_id) -> Path:
    """Built once, whatever the number of workers: two builds at a time would write into each other's assets."""
    given = os.environ.get("SITE_DIR")                      # a site that was built before, to look at it again quickly
    if given:
        return Path(given)
    base = tmp_path_factory.getbasetemp()
    shared = (base if worker_id == "master" else base.parent) / "published"
    with FileLock(f"{shared}.lock"):
        if not shared.is_dir():
            build(shared.with_suffix(".part"), CARDS="true").rename(shared)                          # as `make docs` does
    return shared


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
