"""What a fresh machine relies on: the pins, what a wheel would hold, the Makefile's messages, the commands in README.md."""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PINS = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines())


def test_constraints_are_names_and_versions_only():
    for name, version in PINS.items():
        assert re.fullmatch(r"[A-Za-z0-9._-]+", name)
        assert re.fullmatch(r"[0-9][0-9a-z.]*", version), f"{name}=={version}: no paths, hosts or local builds such as +cpu"
    assert not {canonicalize_name(name) for name in PINS} & {"torchvision", "properdocs"}


@pytest.mark.parametrize("group", ["dependencies", "dev", "docs", "grading"])
def test_constraints_pin_what_pyproject_asks_for(group):
    pins = {canonicalize_name(name): version for name, version in PINS.items()}
    lines = PROJECT["project"]["dependencies"] if group == "dependencies" else PROJECT["project"]["optional-dependencies"][group]
    for requirement in map(Requirement, lines):
        version = pins[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement} is pinned to {version}"


def test_a_wheel_would_hold_every_file_of_the_package():
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    tracked = subprocess.run(["git", "ls-files", "course"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["course"]
    for file in filter(None, tracked):
        inside = file.removeprefix("course/")
        if inside.split("/")[-1].startswith("."):
            continue                                                   # .gitattributes and the like are for git
        assert file.endswith(".py") or any(fnmatch.fnmatch(inside, p) or fnmatch.fnmatch("x/" + inside, p) for p in patterns), \
            f"{file} matches none of [tool.setuptools.package-data]"


def test_licences_lie_where_the_metadata_says():
    for file in PROJECT["project"]["license-files"]:
        assert (ROOT / file).is_file()
    named = re.findall(r"^  ([a-z]+/\S+)", (ROOT / "LICENSE").read_text(), re.M)
    assert named
    assert all((ROOT / place).is_dir() for place in named)


# ------------------------------------------------------------------------------------------------ README


def test_readme_names_only_what_there_is():
    from typer.main import get_command

    from course.cli import app

    text = (ROOT / "README.md").read_text()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"\bmake ([a-z-]+)", text)) - {"sure"} <= targets
    commands = set(get_command(app).commands)
    assert set(re.findall(r"(?:`|^\s*)course ([a-z]+)", text, re.M)) <= commands
    for link in re.findall(r"\]\(([^)#:]+)\)", text) + re.findall(r'src="([^":]+)"', text):
        assert (ROOT / link).exists(), f"README.md points to {link}"


# ------------------------------------------------------------------------------------------------ Makefile

FAKE = """#!/bin/sh
# A Python as the Makefile sees it: $VERSION_OK, $VENV_OK and $PIP_OK are exit statuses.
case "$*" in
    --version) echo "Python 3.x" ;;
    "-m venv"*) [ "$VENV_OK" = 0 ] && mkdir -p .venv/bin && cp "$0" .venv/bin/python; exit $VENV_OK ;;
    *"pip install"*) echo "pip: $*"; exit $PIP_OK ;;
    "-m ruff"*|"-m mypy"*) echo "ran: $*" ;;
    -c*CPU_INDEX*|-c*platform*) ;;
    -c*) exit $VERSION_OK ;;
esac
"""


@pytest.fixture
def make(tmp_path):
    if shutil.which("make") is None:
        pytest.skip("no make")
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python3"
    python.write_text(FAKE)
    python.chmod(0o755)
    for other in ("python3.14", "python3.13", "python3.12", "python3.11", "python"):
        (tmp_path / "bin" / other).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / "bin" / other).chmod(0o755)

    def run(*arguments: str, **statuses: int) -> subprocess.CompletedProcess[str]:
        environment = {"VERSION_OK": "0", "VENV_OK": "0", "PIP_OK": "0", **{key: str(value) for key, value in statuses.items()}}
        return subprocess.run(["make", *arguments], cwd=tmp_path, capture_output=True, text=True,
                              env={**os.environ, **environment, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"})

    return run


def test_make_sets_up_once(make, tmp_path):
    first = make("lint")
    assert first.returncode == 0, first.stderr
    assert "Making .venv with Python 3.x" in first.stdout
    assert "-c constraints.txt -e .[dev,docs,grading,browser]" in first.stdout
    assert "ran: -m ruff check ." in first.stdout
    second = make("lint")
    assert second.returncode == 0
    assert "Making" not in second.stdout
    assert "Installing" not in second.stdout
    os.utime(tmp_path / "constraints.txt", (2e9, 2e9))
    third = make("lint")
    assert "Making" not in third.stdout
    assert "Installing" in third.stdout


def test_make_without_a_new_enough_python(make):
    done = make("test", VERSION_OK=1)
    assert done.returncode != 0
    assert "needs Python 3.11 or newer" in done.stdout
    assert "make test PYTHON=" in done.stdout
    assert "needs Python 3.11 or newer" in make("test", "PYTHON=/nowhere/python").stdout


def test_make_without_the_venv_module(make, tmp_path):
    done = make("test", VENV_OK=1)
    assert done.returncode != 0
    assert "apt install python3-venv" in done.stdout
    assert not list((tmp_path / ".venv").glob(".ready*"))


def test_make_without_a_network(make, tmp_path):
    done = make("docs", PIP_OK=1)
    assert done.returncode != 0
    assert "the network is missing" in done.stdout
    assert not list((tmp_path / ".venv").glob(".ready*"))
    assert make("lint").returncode == 0                                # and goes on from there


def test_make_notices_that_the_folder_moved(make, tmp_path):
    assert make("lint").returncode == 0
    (stamp,) = (tmp_path / ".venv").glob(".ready*")
    stamp.rename(stamp.with_name(".ready-elsewhere"))
    assert "Installing" in make("lint").stdout
