"""What the executed blocks of a page print is kept exactly as long as all that it was made from stays."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from course import blocks

PAGE = '''# A page

```python exec="on" session="page"
import sys
from pathlib import Path

sys.path.insert(0, "docs")
from figures.one import ONE

value = ONE
```

```python exec="on" session="page"
print(value + len(Path("data.txt").read_text()), Path("more.txt").exists(), sorted(p.name for p in Path("folder").iterdir()))
```
'''
RUN = """import sys
from pathlib import Path
from course import blocks
from course.site import side_by_side
blocks.ROOT = Path(sys.argv[1])
blocks.KEPT = blocks.ROOT / ".cache"
for _ in range(2):          # the second time from bytecode: no source of a module is opened
    side_by_side([("the page", blocks.run, (blocks.ROOT / "docs" / "page.md",))])
"""


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    (tmp_path / "docs" / "figures").mkdir(parents=True)
    (tmp_path / "docs" / "figures" / "one.py").write_text("ONE = 1\n")
    (tmp_path / "docs" / "page.md").write_text(PAGE)
    (tmp_path / "data.txt").write_text("abc")
    (tmp_path / "folder").mkdir()
    monkeypatch.setattr(blocks, "ROOT", tmp_path)
    monkeypatch.setattr(blocks, "KEPT", tmp_path / ".cache")
    done = subprocess.run([sys.executable, "-c", RUN, str(tmp_path)], capture_output=True, text=True,
                          env={**os.environ, "PYTHONDONTWRITEBYTECODE": ""})
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("the page: ") == 2, done.stdout
    assert "failed" not in done.stdout, done.stderr
    return tmp_path


def test_kept_until_something_changes(checkout, monkeypatch):
    page = checkout / "docs" / "page.md"

    def kept():
        blocks._digest.cache_clear()
        return blocks.kept(page)

    was = ["", "4 False []\n"]
    assert kept() == was
    page.write_text(PAGE + "\nMore words.\n")
    assert kept() == was, "words around the blocks are nothing that they depend on"
    for path, text in ((page, PAGE.replace("value +", "2 +")), (checkout / "docs" / "figures" / "one.py", "ONE = 2\n"), (checkout / "data.txt", "abd"),
                       (checkout / "more.txt", ""), (checkout / "folder" / "new", "")):
        before = path.read_text() if path.exists() else None
        path.write_text(text)
        assert kept() is None, f"{path.name} changed, and nobody noticed"
        path.unlink() if before is None else path.write_text(before)
        assert kept() == was
    monkeypatch.setattr(blocks, "_libraries", lambda: "others")
    assert kept() is None
    assert [page for _, page in blocks.waiting(checkout / "docs")] == [page]
    (checkout / ".cache" / "docs.page.md.json").write_text('{"blocks": ')
    monkeypatch.undo()
    monkeypatch.setattr(blocks, "ROOT", checkout)
    monkeypatch.setattr(blocks, "KEPT", checkout / ".cache")
    assert kept() is None, "half a file is no file"


def test_a_block_that_was_edited_runs_after_those_before_it():
    ran = []

    def theirs(*, code, **options):
        ran.append(code)
        return f"ran {code}"

    shown = blocks.Shown()
    shown.known = {"s": [("a", "kept a"), ("b", "kept b"), ("a", "kept a again"), ("c", "kept c")]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "theirs", theirs)
        patch.setattr(blocks.markdown_exec, "base_format", lambda *, run, **options: run("code"))
        for _ in range(2):
            assert [shown(code=code, session="s") for code in "abac"] == ["kept a", "kept b", "kept a again", "kept c"]
        assert not ran
        assert [shown(code=code, session="s") for code in "abXc"] == ["kept a", "kept b", "ran X", "ran c"]
        assert ran == ["a", "b", "X", "c"]
        assert shown(code="a", session="s") == "ran a", "what ran once in this process goes on running"
        assert shown(code="a", session="other") == "ran a"
        assert shown(code="a", session="") == "ran a"


def test_blocks_of_a_page_are_found_as_markdown_exec_finds_them():
    text = ('```python\nnot run\n```\n\n```python exec="on" session="s"\na = 1\n```\n\n!!! note\n\n    ```python exec="1" session="s" html="1"\n'
            '    if a:\n        print(a)\n    ```\n\n```python exec="off"\nnot run\n```\n')
    assert blocks.executed(text) == [("s", "a = 1"), ("s", "if a:\n    print(a)")]
