# Every target sets up what it needs first: .venv, with the versions in constraints.txt. Nothing outside this folder changes.
# A different Python: make test PYTHON=python3.12

PYTHON = $(shell for python in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo "$$python"; break; }; done)
RUN = .venv/bin/python -m
ZENSICAL = zensical==0.0.73

# How the threads of torch wait for each other, see course/__init__.py: here for the programs that import torch first.
export OMP_WAIT_POLICY ?= PASSIVE

# Made again when the dependencies change or the folder has been moved, and only then.
READY := .venv/.ready-$(shell pwd | cksum | cut -d ' ' -f 1)

.PHONY: help demo test test-all fuzz docs docs-next lint bench observe clean

help:
	@echo "make demo      one prompt with every sampler, ours beside diffusers', into out/demo/"
	@echo "make test      the test suite"
	@echo "make test-all  the same with the slow tests"
	@echo "make fuzz      the tests with random inputs, with new ones each time"
	@echo "make docs      the site, into site/"
	@echo "make docs-next the same with the theme's successor, into site-next/"
	@echo "make lint      ruff and mypy"
	@echo "make bench     how fast: ratios measured side by side"
	@echo "make observe   every sampler beside diffusers' scheduler classes"
	@echo "make clean     remove what the others made, .venv included"

demo: $(READY)
	@$(RUN) course.demo

# Side by side, one worker for each core; what stays in one worker, and what comes first, is in tests/conftest.py.
PYTEST = $(RUN) pytest -n logical --maxprocesses 8 --dist loadgroup --no-loadscope-reorder

test: $(READY)
	$(PYTEST) $(ARGS)

test-all: $(READY)
	$(PYTEST) -m "not fuzz" $(ARGS)

fuzz: $(READY)
	COURSE_FUZZ=1 $(PYTEST) -m "hypothesis or fuzz" $(ARGS)

docs: $(READY)
	$(RUN) course.site
	NO_MKDOCS_2_WARNING=1 CARDS=true $(RUN) mkdocs build --strict
	$(RUN) course.site finish $${SITE:-site}

# Not part of `make docs`, and nothing depends on it: a rehearsal for the day when the theme is no longer maintained.
docs-next: $(READY)
	@$(RUN) pip install --quiet --disable-pip-version-check -c constraints.txt "$(ZENSICAL)" || { \
		echo "$(ZENSICAL) could not be installed; make docs does not need it."; exit 1; }
	$(RUN) course.site
	@echo "Every block of every chapter runs in one thread, and nothing is printed meanwhile: minutes ..."
	SITE=site-next .venv/bin/zensical build
	$(RUN) course.site finish site-next

lint: $(READY)
	$(RUN) ruff check .
	$(RUN) mypy

observe: $(READY)
	@$(RUN) course.cli observe $(ARGS)

bench: $(READY)
	@$(RUN) bench $(ARGS)

clean:
	rm -rf .venv out site site-next docs/notebooks docs/slides .cache .pytest_cache .mypy_cache .ruff_cache

# ---------------------------------------------------------------------------------------------------------------- set-up

# Linux without an NVIDIA card takes torch's CPU build, a tenth of the size, if its index can be reached.
define CPU_INDEX
import platform, shutil, sys, urllib.request
url = "https://download.pytorch.org/whl/cpu"
if platform.system() == "Linux" and not shutil.which("nvidia-smi"):
    try:
        urllib.request.urlopen(url + "/torch/", timeout=3)
        print("--extra-index-url", url)
    except OSError:
        pass
endef
export CPU_INDEX

$(READY): pyproject.toml constraints.txt
	@if [ -z "$(PYTHON)" ] || ! "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then \
		echo "The course needs Python 3.11 or newer, and there is none on the PATH (python3 is: $$(python3 --version 2>&1))."; \
		echo "Install one (Debian, Ubuntu: apt install python3 python3-venv; macOS: brew install python; any: https://docs.astral.sh/uv),"; \
		echo "or name the one you have: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12"; exit 1; fi
	@.venv/bin/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || { \
		echo "Making .venv with $$("$(PYTHON)" --version) ..."; \
		"$(PYTHON)" -m venv --clear .venv || { \
			echo "Python's venv module does not work here (Debian, Ubuntu: apt install python3-venv)."; exit 1; }; }
	@echo "Installing the course and what it needs into .venv (some 2 GB; minutes the first time, seconds later) ..."
	@rm -f .venv/.ready-*
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check $$(.venv/bin/python -c "$$CPU_INDEX") \
		-c constraints.txt -e ".[dev,docs,grading,browser]" || { \
		echo "The installation failed. If the lines above speak of connections, the network is missing: it is needed this once."; \
		echo "What is installed already stays; the same command goes on from there."; exit 1; }
	@touch "$@"
	@echo "Ready."
