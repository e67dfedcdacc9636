"""What diffusers answers to the exercises' questions, stored, so that a check need not import diffusers.

The numbers are in `tests/exercises/diffusers_numbers.json`; `test_diffusers_numbers.py` beside it makes them and sees to
it that they are what the installed diffusers says.
"""

from __future__ import annotations

import functools
import json
from typing import Any

import torch

from course.grading.manifest import CHECKS


def diffusers_says(name: str) -> tuple[list[Any], Any]:
    """(arguments, result) of an exercise's question: fresh tensors, numbers and lists."""
    entry = json.loads(_text())[name]
    return [_value(argument) for argument in entry["arguments"]], _value(entry["result"])


@functools.cache
def _text() -> str:
    return (CHECKS / "diffusers_numbers.json").read_text(encoding="utf-8")


def _value(stored: Any) -> Any:
    return torch.tensor(stored["values"]).reshape(stored["shape"]) if isinstance(stored, dict) else stored
