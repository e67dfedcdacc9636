"""Checks for the tests of the grader; collected by the grader only, see conftest.py."""

import pytest
import torch

from course.grading import task
from course.grading.checks import expect_close


@task("ch03.alphas_cumprod")
@pytest.mark.parametrize("steps", [10, 257])
def test_alphas_cumprod(student, steps):
    betas = student.rand(steps, low=1e-4, high=0.05)
    expected = torch.cumprod(1 - betas.double(), 0).float()
    expect_close(student.alphas_cumprod(betas), expected, what="alphas_cumprod(betas)",
                 known={"the betas themselves were multiplied": lambda: betas.cumprod(0)})


@task("ch03.add_noise")
@pytest.mark.parametrize("batch", [1, 3])
def test_add_noise(student, batch):
    x0, noise = student.randn(batch, 3, 8, 8), student.randn(batch, 3, 8, 8)
    level = student.rand(batch, low=0.01, high=0.99)
    a = level.view(-1, 1, 1, 1)
    expect_close(student.add_noise(x0, noise, level), a.sqrt() * x0 + (1 - a).sqrt() * noise,
                 what="add_noise(x0, noise, alpha_bar_t)",
                 known={"the square roots were forgotten": lambda: a * x0 + (1 - a) * noise})
