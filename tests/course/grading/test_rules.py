"""What one student's function does reaches no other task: arguments, torch's state, streams, random numbers."""

import random
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from course.grading import rules
from course.grading.manifest import CHECKS
from course.grading.run import check_folder

FIRST = CHECKS / "variants" / "first"


@pytest.fixture
def folder(tmp_path):
    """The right answers, to be spoilt."""
    for path in FIRST.glob("*.py"):
        shutil.copy(path, tmp_path)
    return tmp_path


def verdicts(folder: Path, *tasks: str) -> dict[str, str]:
    return {name: result.status for name, result in check_folder(folder, tasks).items()}


def test_a_grid_that_is_eaten_up_spoils_no_other_task(folder):
    path = folder / "ch06_samplers.py"
    right = path.read_text()
    path.write_text(right.replace("    for now, next in zip(grid[:-1], grid[1:]):\n        x = ddim_step(x, denoise(x, now), now, next)",
                                  "    while len(grid) > 1:\n        now, next = grid.pop(0), grid[0]\n"
                                  "        x = ddim_step(x, denoise(x, now), now, next)"))
    tasks = "ch06.ddim_sample", "ch06.heun_sample", "ch06.plms_sample"
    found = verdicts(folder, *tasks)
    assert [name for name, status in found.items() if status != "passed"] == ["ch06.ddim_sample"]
    path.write_text(right)
    assert set(verdicts(folder, *tasks).values()) == {"passed"}


@pytest.mark.parametrize("line", [
    "torch.set_grad_enabled(False)", "torch.set_default_dtype(torch.float64)", "torch.set_default_device('meta')",
    "torch.inference_mode().__enter__()", "torch.no_grad().__enter__()", "torch.use_deterministic_algorithms(True)",
    "torch.autograd.set_detect_anomaly(True)", "torch.manual_seed(3)", "import sys, io; sys.stdout = io.StringIO()",
    "import numpy; numpy.seterr(all='raise'); numpy.random.seed(1)", "import random; random.seed(1)",
    "import sys; sys.setrecursionlimit(400)", "import warnings; warnings.simplefilter('error')",
])
@pytest.mark.parametrize("where", ["at the top", "in a function"])
def test_the_state_of_the_process_is_put_back(folder, line, where):
    path = folder / "ch05_losses.py"
    text = path.read_text()
    path.write_text(text.replace("import torch\n", f"import torch\n{line}\n", 1) if where == "at the top" else
                    text.replace("    snr = alpha_bar_t", f"    {line}\n    snr = alpha_bar_t"))
    before, streams = rules.random_state(), (sys.stdout, sys.stderr)
    verdicts(folder, "ch05.min_snr_weight")
    assert verdicts(folder, "ch03.cosine_betas", "ch03.log_snr") == {"ch03.cosine_betas": "passed", "ch03.log_snr": "passed"}
    assert rules.random_state() == before
    assert (sys.stdout, sys.stderr) == streams
    assert torch.ones(1).dtype == torch.float32
    assert torch.ones(1).device.type == "cpu"
    assert torch.is_grad_enabled()


def test_what_was_changed_is_said():
    saved = rules.settings()
    torch.set_default_dtype(torch.float64)
    np.seterr(all="raise")
    random.seed(2)
    assert rules.restored(saved) == ["torch's default dtype", "numpy's handling of floating-point errors"]
    assert rules.restored(saved) == []


def test_copies_share_nothing_and_say_what_changed():
    weight = torch.ones(2, requires_grad=True)
    value = [[1.0, 2.0], {"x": np.zeros(3)}, (torch.arange(4),), types.SimpleNamespace(w=weight), torch.Generator().manual_seed(1)]
    twin = rules.copied(value)
    before = rules.snapshot(value)
    assert rules.changed(before, rules.snapshot(twin)) == ""
    twin[0].pop()
    assert rules.changed(before, rules.snapshot(twin)) == "values"
    assert rules.changed(before, rules.snapshot(value)) == ""
    for change, what in ((lambda w: w.sum().backward(), ".grad"), (lambda w: w.requires_grad_(False), "requires_grad"),
                         (lambda w: w.data.add_(1), "values")):
        twin = rules.copied(value)
        change(twin[3].w)
        assert rules.changed(before, rules.snapshot(twin)) == what
    torch.randn(1, generator=twin[4])
    assert torch.randn(1, generator=value[4]) == torch.randn(1, generator=torch.Generator().manual_seed(1))


def test_a_function_that_remembers_is_found_out(folder):
    path = folder / "ch07_training.py"
    path.write_text(path.read_text().replace("    return d * average", "    global average_so_far\n    average_so_far = d = globals().get("
                                             "'average_so_far', d) * 0.9\n    return d * average"))
    result = check_folder(folder, ["ch07.ema_update"])["ch07.ema_update"]
    assert "called again with the same arguments" in result.feedback
