"""Predict, run, be surprised: what the lines in an exercise print is what its key says was measured."""

import contextlib
import io
import re
from pathlib import Path

import pytest

from course.grading.manifest import EXERCISES, load_tasks
from course.grading.written import load_answers

HERE = Path(__file__).parent
KEYS = {task: key["measured"] for task, key in load_answers(HERE / "answers").items() if key.get("check") == "prediction"}
QUICK = ("ch03.predict", "ch04.predict", "ch07.predict", "ch11.predict", "ch12.predict")          # the others sample, train or paint


def lines_of(task: str) -> str:
    """The Python lines of a task, as they stand in the student's file."""
    text = (EXERCISES / f"{load_tasks()[task].chapter}.md").read_text(encoding="utf-8")
    return text.split(f"### {task}\n")[1].split("```python\n")[1].split("\n```")[0]


@pytest.mark.parametrize("task", [pytest.param(task, marks=[] if task in QUICK else [pytest.mark.slow]) for task in KEYS])
def test_the_lines_print_what_the_key_says(task):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(lines_of(task), task, "exec"), {"__name__": task})
    printed = {name: float(value) for name, value in re.findall(r"(\w+) = (-?[\d.]+)", out.getvalue())}
    numbers = {name: key for name, key in KEYS[task].items() if "within" in key}
    assert set(numbers) <= set(printed)
    off = {name: printed[name] for name, key in numbers.items() if not abs(printed[name] - key["value"]) <= key["within"]}
    assert not off


def test_the_words_follow_from_the_numbers():
    sampled, walked = KEYS["ch06.predict"], KEYS["ch05.predict"]
    for calls in (9, 39):
        better = min(("euler", "heun"), key=lambda name: sampled[f"{name}_{calls}"]["value"])
        assert sampled[f"better_at_{calls}"]["value"] == better
    assert walked["better"]["value"] == ("ode" if walked["broken_0"]["value"] < walked["broken_1"]["value"] else "sde")


def test_every_chapter_of_the_twelve_has_one():
    assert {task[:4] for task in KEYS} >= {f"ch{number:02d}" for number in range(1, 13)}
