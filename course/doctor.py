"""`course doctor`: what this machine can run, and the command that mends what it cannot.

Each check below is a function that yields findings. To add one, write it and put it into CHECKS.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

GB = 1e9
HUB_MODEL = "CompVis/stable-diffusion-v1-4"

# Stable Diffusion v1.4: the weights follow from the counts of parameters (U-Net, VAE, text encoder). What a 512 x 512 picture
# needs on top is the peak of tests/course/test_full_size.py, float32 with guidance on a CPU; float16 is counted as half.
PARAMETERS = 859_520_964 + 83_653_863 + 123_060_480
ACTIVATIONS_FLOAT32 = 2.3 * GB

GOOD, NOTE, PROBLEM = "ok", "note", "problem"


class Finding(NamedTuple):
    """One line of the report. A problem keeps the course from running; a note only limits what can be done."""

    state: str
    what: str
    text: str
    fix: str = ""


def packages() -> Iterator[Finding]:
    """Python and the packages that pyproject.toml asks for, each in the range it asks for."""
    from packaging.requirements import Requirement

    yield Finding(GOOD if sys.version_info >= (3, 11) else PROBLEM, "python", platform.python_version(),
                  "" if sys.version_info >= (3, 11) else "install Python 3.11 or newer, then run `make test`")
    wrong = []
    versions = {"course": importlib.metadata.version("diffusion-course")}
    for line in importlib.metadata.requires("diffusion-course") or []:
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        versions[requirement.name.lower()] = version
        if not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement.name} is {version}, not {requirement.specifier}")
    shown = ", ".join(f"{name} {versions.get(name, '?')}" for name in ("course", "torch", "diffusers", "transformers"))
    if wrong:
        yield Finding(PROBLEM, "packages", f"{shown}; {'; '.join(wrong)}", "python -m pip install -e . -c constraints.txt")
    else:
        yield Finding(GOOD, "packages", shown)


def accelerator() -> Iterator[Finding]:
    """What the networks run on."""
    import torch

    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory
        yield Finding(GOOD, "device", f"cuda: {torch.cuda.get_device_name(0)}, {memory / GB:.0f} GB; float16")
    elif torch.backends.mps.is_available():
        yield Finding(GOOD, "device", "mps: Apple's GPU; float32")
    else:
        text = f"cpu, {torch.get_num_threads()} threads; float32"
        if shutil.which("nvidia-smi"):
            yield Finding(NOTE, "device", f"{text}. There is an NVIDIA driver, but torch {torch.__version__} cannot use it",
                          "python -m pip install --force-reinstall torch  (PyPI's Linux build has CUDA)")
        else:
            yield Finding(GOOD, "device", f"{text}: enough for everything here but Stable Diffusion at full size")


def memory() -> Iterator[Finding]:
    """What fits: Stable Diffusion v1.4 in both precisions, with the memory that the networks would use."""
    import psutil
    import torch

    ram = psutil.virtual_memory()
    yield Finding(GOOD, "memory", f"{ram.available / GB:.0f} of {ram.total / GB:.0f} GB free")
    if torch.cuda.is_available():
        free, place = torch.cuda.mem_get_info(0)[0], "on the GPU"
    else:
        free, place = ram.available, "in memory"
    for name, size in [("float32", 4), ("float16", 2)]:
        need = PARAMETERS * size + ACTIVATIONS_FLOAT32 * size / 4
        text = f"SD v1.4 at 512 x 512 in {name}: {PARAMETERS * size / GB:.1f} GB of weights, {need / GB:.1f} GB in all"
        if need > free:
            fix = "render smaller (--height 256 --width 256)" if size == 2 else "use --dtype float16, or close other programs"
            yield Finding(NOTE, name, f"{text}; does not fit: {free / GB:.1f} GB are free {place}", fix)
        elif name == "float16" and not torch.cuda.is_available():
            yield Finding(NOTE, name, f"{text}; fits {place}, but without a GPU float16 is slow", "--dtype float32")
        else:
            yield Finding(GOOD, name, f"{text}; fits {place}")


def shipped_model() -> Iterator[Finding]:
    """The small model that comes with the course."""
    from course.components import locate

    try:
        folder = Path(locate("emoji"))
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        yield Finding(GOOD, "emoji", f"the course's own model is here, {size / 1e6:.0f} MB")
    except FileNotFoundError as error:
        yield Finding(PROBLEM, "emoji", str(error), "git checkout -- course/emoji  (or: course train emoji)")


def hub() -> Iterator[Finding]:
    """Stable Diffusion v1.4: cached, reachable, or neither."""
    from huggingface_hub import constants

    from course.components import Components
    from course.model_files import cached, weights_among

    folder = cached(HUB_MODEL)
    here = [folder is not None and (folder / part).is_dir() and any((folder / part).glob("*.json"))
            and (part in ("tokenizer", "scheduler") or weights_among(file.name for file in (folder / part).iterdir()) is not None)
            for part in Components._fields]
    offline = constants.HF_HUB_OFFLINE
    if all(here):
        yield Finding(GOOD, "cache", f"{HUB_MODEL} is in {constants.HF_HUB_CACHE}")
        return
    some = "only partly" if any(here) else "not"
    fetch = f'course render "a bear" --model {HUB_MODEL}'
    if offline:
        yield Finding(NOTE, "cache", f"{HUB_MODEL} is {some} cached, and HF_HUB_OFFLINE is set", f"HF_HUB_OFFLINE=0 {fetch}")
    elif not reachable("huggingface.co"):
        yield Finding(NOTE, "cache", f"{HUB_MODEL} is {some} cached, and huggingface.co cannot be reached",
                      f"on a machine with a network: hf download {HUB_MODEL}; then copy {constants.HF_HUB_CACHE} here")
    else:
        yield Finding(NOTE, "cache", f"{HUB_MODEL} is {some} cached; it can be downloaded", fetch)


def reachable(host: str, timeout: float = 3.0) -> bool:
    """Whether a connection to the host can be opened, directly or through a proxy that is set."""
    if os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy"):
        import urllib.request

        try:
            urllib.request.urlopen(f"https://{host}", timeout=timeout).close()
        except OSError:
            return False
        return True
    try:
        socket.create_connection((host, 443), timeout=timeout).close()
    except OSError:
        return False
    return True


def extras() -> Iterator[Finding]:
    """What only some readers need: building the site, and testing it in a browser."""
    missing = [name for name in ("mkdocs-material", "markdown-exec", "jupytext") if not _installed(name)]
    if missing:
        yield Finding(NOTE, "docs", f"the site cannot be built: no {', '.join(missing)}", 'python -m pip install -e ".[docs]"')
    else:
        yield Finding(GOOD, "docs", "the site can be built: `make docs`")
    browsers = ("chromium", "chromium-browser", "google-chrome")
    if os.environ.get("CHROMIUM") or any(map(shutil.which, browsers)):
        yield Finding(GOOD, "browser", "Chromium is here: the site's own tests can run")
    else:
        yield Finding(NOTE, "browser", "no Chromium: the site's own tests are skipped",
                      "apt install chromium, or set CHROMIUM to its path")


def confinement() -> Iterator[Finding]:
    """What confines student code under `course grade`."""
    from course.grading.sandbox import describe, isolation

    weak = bool(isolation().missing)
    yield Finding(NOTE if weak else GOOD, "grading", " ".join(describe().split()),
                  "grade other people's code on Linux 5.13 or newer" if weak else "")


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


CHECKS: list[Callable[[], Iterator[Finding]]] = [packages, accelerator, memory, shipped_model, hub, extras,
                                                        confinement]


def examine() -> list[Finding]:
    """Run every check. One that breaks is itself a finding, so that the others are still heard."""
    findings: list[Finding] = []
    for check in CHECKS:
        try:
            findings += check()
        except Exception as error:
            findings.append(Finding(PROBLEM, check.__name__, f"could not be examined: {type(error).__name__}: {error}",
                                    "python -m pip install -e . -c constraints.txt"))
    return findings


def report() -> int:
    """Print what was found. 0 if the course runs here, 1 if not."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    findings = examine()
    table = Table(box=None, show_header=False, padding=(0, 1))
    marks = {GOOD: ("ok", "green"), NOTE: ("--", "yellow"), PROBLEM: ("!!", "red")}
    for finding in findings:
        text = Text(finding.text)
        if finding.fix:
            text.append(f"\n-> {finding.fix}", style="bold")
        table.add_row(Text(*marks[finding.state]), Text(finding.what), text)
    console = Console()
    console.print(table)
    broken = any(finding.state == PROBLEM for finding in findings)
    console.print("Something has to be mended first: see the lines marked !!." if broken else
                  'All set. Try: course render "a bear above a horse on a white background"')
    return int(broken)
