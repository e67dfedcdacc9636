#!/usr/bin/env bash
# Gradescope runs this once, when the image is built: the course, and a Python where the sandbox may read it.
set -euo pipefail
here=${SOURCE:-/autograder/source}
prefix=${PREFIX:-/opt/diffusion-course}

mkdir -p "$prefix/src"
tar -xzf "$here/course.tar.gz" -C "$prefix/src"

# Not below /root: student code runs as another user, which may not enter it.
export UV_PYTHON_INSTALL_DIR="$prefix/python" UV_INSTALL_DIR="$prefix/bin" UV_NO_MODIFY_PATH=1
if [ -z "${PYTHON:-}" ]; then
    command -v curl >/dev/null || { apt-get update && apt-get install -y --no-install-recommends curl ca-certificates; }
    curl -LsSf https://astral.sh/uv/install.sh | sh
    "$prefix/bin/uv" venv --python 3.12 "$prefix/venv"
    install="$prefix/bin/uv pip install --python $prefix/venv/bin/python"
else
    "$PYTHON" -m venv "$prefix/venv"
    install="$prefix/venv/bin/python -m pip install"
fi
# The CPU build of torch in the version that constraints.txt names: the index of CPU builds beside PyPI, and one call for both.
cpu=https://download.pytorch.org/whl/cpu
torch=$(sed -n 's/^torch==\([^+;]*\).*/\1/p' "$prefix/src/constraints.txt")
$install --index-url "$cpu" "torch==$torch"
$install --extra-index-url "$cpu" -c "$prefix/src/constraints.txt" -e "$prefix/src"
"$prefix/venv/bin/course" doctor || true
