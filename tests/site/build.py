"""python -m tests.site.build OUT: the site, built once for all workers, as `make docs` builds it.

Whoever comes first builds; the others wait for the lock. If it fails, OUT.failed says why, and nobody builds again.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from filelock import FileLock

from course.site import finish

ROOT = Path(__file__).resolve().parents[2]


def build(out: Path, config: Path = ROOT / "mkdocs.yml", **env: str) -> Path:
    """`mkdocs build --strict` into `out`. Not quiet: with -q, --strict lets broken links pass."""
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "OMP_NUM_THREADS": "1", **env}
    if config.parent == ROOT:
        done = subprocess.run([sys.executable, "-m", "course.site"], cwd=ROOT, text=True, capture_output=True, env=env)
        assert done.returncode == 0, f"python -m course.site failed:\n{done.stdout[-4000:]}\n{done.stderr[-6000:]}"
    done = subprocess.run([sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config), "-d", str(out)], cwd=ROOT, text=True,
                          capture_output=True, env=env)
    assert done.returncode == 0, f"mkdocs build --strict failed:\n{done.stdout[-4000:]}\n{done.stderr[-6000:]}"
    finish(out)
    return out


def published(out: Path) -> Path:
    """The site in `out`, built now if nobody has. AssertionError if it does not build."""
    failed = out.with_suffix(".failed")
    with FileLock(f"{out}.lock"):
        if not out.is_dir() and not failed.exists():
            try:
                build(out.with_suffix(".part"), CARDS="true").rename(out)
            except Exception as error:
                failed.write_text(str(error), encoding="utf-8")
    assert not failed.exists(), failed.read_text(encoding="utf-8")
    return out


if __name__ == "__main__":
    published(Path(sys.argv[1]))
