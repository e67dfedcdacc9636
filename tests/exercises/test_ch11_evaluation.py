"""Checks of exercises/ch11_evaluation.py."""

from pathlib import Path

import torch

from course.grading import task
from course.grading.checks import expect, expect_close, expect_equal, expect_raises, expect_tensor, expect_type
from course.grading.errors import CheckFailed, StudentRaised
from course.grading.written import expect_written

ANSWERS = Path(__file__).parent / "answers"


@task("ch11.mean_and_covariance")
def test_mean_and_covariance(student):
    for count, width, dtype in ((5, 5, torch.float32), (9, 4, torch.float64), (2, 3, torch.float32), (300, 1, torch.float32)):
        features = (student.randn(count, width) @ student.randn(width, width) + 3 * student.randn(1, width)).to(dtype)
        f = features.double()
        mean = f.mean(0)
        centred = f - mean
        right = centred.T @ centred / (count - 1)
        got = student.mean_and_covariance(features)
        what = f"mean_and_covariance of features {(count, width)}"
        expect_type(got, tuple, what)
        expect(len(got) == 2, f"{what} should have 2 items, and has {len(got)}", "wrong_shape")
        expect_close(got[0], mean, f"{what}[0], the mean,", {
            "the mean runs over the features; it runs over the images": f.mean(1)})
        expect_close(got[1], right, f"{what}[1], the covariance,", {
            "the division is by N; it should be by N - 1": right * (count - 1) / count,
            "the mean was not taken away": f.T @ f / (count - 1),
            "the division by N - 1 is missing": right * (count - 1),
            "this is the correlation: each feature was divided by its standard deviation":
                right / (right.diag().sqrt()[:, None] * right.diag().sqrt()[None]),
            "the rows were correlated, not the columns": centred @ centred.T / (count - 1),
            "only the diagonal was kept: how features vary together is missing": torch.diag(right.diag()),
        }, rtol=1e-9, atol=1e-10)


@task("ch11.mean_and_covariance")
def test_mean_and_covariance_of_numbers_far_from_zero(student):
    # whole multiples of 1/16 near a million: float32 holds them exactly, and their mean cannot be held
    features = 1e6 + (16 * student.randn(501, 8)).round() / 16
    got = student.mean_and_covariance(features)
    expect_type(got, tuple, "mean_and_covariance")
    expect_close(got[0], features.double().mean(0), "the mean of features near a million (go to float64 before adding up)", rtol=1e-10)
    features = (student.randn(50, 3) + 5000.0).to(torch.float32)
    got = student.mean_and_covariance(features)
    expect_type(got, tuple, "mean_and_covariance")
    right = torch.cov(features.double().T)
    expect_tensor(got[1], (3, 3), torch.float64, "the covariance")
    expect_close(got[1], right, "the covariance of features near 5000 (go to float64 before adding up)", rtol=1e-7, atol=1e-8)


@task("ch11.mean_and_covariance")
def test_mean_and_covariance_needs_two_rows(student):
    expect_raises(student.mean_and_covariance, torch.ones(1, 3), what="mean_and_covariance of a single row")
    two = torch.tensor([[1.0, 2.0], [3.0, 6.0]])
    mean, covariance = (2.0, 4.0), ((2.0, 4.0), (4.0, 8.0))
    expect_close(student.mean_and_covariance(two), (torch.tensor(mean).double(), torch.tensor(covariance).double()), "mean_and_covariance of two rows")


def law(student, width):
    a = student.randn(width, width).double()
    return student.randn(width).double(), a @ a.T / width + 0.1 * torch.eye(width, dtype=torch.float64)


def root(matrix):
    values, vectors = torch.linalg.eigh(matrix)
    return vectors @ torch.diag(values.clamp(min=0).sqrt()) @ vectors.T


@task("ch11.frechet_distance")
def test_frechet_distance(student):
    for width, size in ((4, 1.0), (7, 1.0), (1, 1.0), (5, 1e-4)):
        (m1, c1), (m2, c2) = ((mean, size * covariance) for mean, covariance in (law(student, width), law(student, width)))
        mixed = torch.linalg.eigvalsh(root(c1) @ c2 @ root(c1)).clamp(min=0).sqrt().sum()
        gap = (m1 - m2).square().sum()
        right = float(gap + c1.trace() + c2.trace() - 2 * mixed)
        expect_close(student.frechet_distance(m1, c1, m2, c2), right, f"frechet_distance in {width} dimensions, variances around {size:g}", {
            "the distance of the means is not squared": lambda: float(gap.sqrt() + c1.trace() + c2.trace() - 2 * mixed),
            "the factor 2 in front of the root is missing": lambda: float(gap + c1.trace() + c2.trace() - mixed),
            "the root was taken entry by entry; it should be the root of a matrix": lambda: float(gap + (c1 + c2 - 2 * (c1 @ c2).abs().sqrt()).trace()),
            "the root of C1 C2 was taken as the root of C1 times the root of C2; those do not commute":
                lambda: float(gap + c1.trace() + c2.trace() - 2 * (root(c1) @ root(c2)).trace()),
            "the distance of the means is missing": lambda: float(c1.trace() + c2.trace() - 2 * mixed),
            "only the distance of the means is left: the covariances are missing": lambda: float(gap),
            "this is the square root of the distance; FID is squared": lambda: right**0.5,
            "the root is missing: this has the trace of C1 C2 itself": lambda: float(gap + c1.trace() + c2.trace() - 2 * (c1 @ c2).trace()),
            "the covariances are taken as diagonal": lambda: float(gap + (c1.diag().sqrt() - c2.diag().sqrt()).square().sum()),
        }, rtol=1e-7, atol=1e-9)


@task("ch11.frechet_distance")
def test_frechet_distance_of_equal_and_of_singular_laws(student):
    mean, covariance = law(student, 5)
    expect_close(student.frechet_distance(mean, covariance, mean, covariance), 0.0, "frechet_distance of a law from itself", atol=1e-5)
    for _ in range(4):                                     # rounding makes some of the zero eigenvalues negative
        a = student.randn(8, 3).double()
        thin = a @ a.T
        try:
            got = student.frechet_distance(torch.zeros(8).double(), thin, torch.ones(8).double(), thin)
        except StudentRaised as raised:
            raise CheckFailed("exception", f"frechet_distance of two singular laws failed (mind eigenvalues just below 0). {raised}") from None
        expect_close(got, 8.0, "frechet_distance of two singular laws whose means are sqrt(8) apart (mind eigenvalues just below 0)", atol=1e-4)


CALLS = {"ddpm": "N", "ddim": "N", "lms": "N", "euler": "N", "euler_ancestral": "N", "dpmpp_2m": "N", "heun": "2N-1", "pndm": "N+1"}


@task("ch11.model_calls")
def test_model_calls(student):
    notes = {"heun": "Heun looks at both ends of every step but the last, which ends clean",
             "pndm": "PLMS looks at both ends of its first step",
             "lms": "a linear multistep method remembers old predictions instead of making new ones",
             "dpmpp_2m": "the 2M remembers its last prediction instead of making a second one",
             "euler_ancestral": "fresh noise is not a model call", "ddpm": "fresh noise is not a model call"}
    for sampler, rule in CALLS.items():
        for steps in (50, 10, 2):
            right = {"N": steps, "N+1": steps + 1, "2N-1": 2 * steps - 1}[rule]
            what = f"model_calls({sampler!r}, {steps})"
            got = student.model_calls(sampler, steps)
            expect_type(got, int, what)
            known = {"one call per step": steps, "two calls in every step": 2 * steps, "one call more than there are steps": steps + 1,
                     "one call in the last step, two before": 2 * steps - 1}
            named = next((text for text, value in known.items() if value == got), "")
            expect(got == right, f"{what} should be {right}, and is {got}" + (f" ({named})" if named else "")
                   + (f". {notes[sampler]}" if sampler in notes else ""))


@task("ch11.model_calls")
def test_model_calls_with_a_single_step(student):
    for sampler in CALLS:
        expect_equal(student.model_calls(sampler, 1), 1, f"model_calls({sampler!r}, 1): with a single step there is nothing to compare it with;")


@task("ch11.model_calls")
def test_model_calls_refuses(student):
    for name in ("dpm", "Heun", "heun_karras", "euler_x", "DDIM", "pndm2", "", "dpmpp_2m_sde", "lms_karras", "ddim ", "euler_a"):
        expect_raises(student.model_calls, name, 10, what=f"model_calls({name!r}, 10), a name not in the list,")
    for name, steps in (("ddim", 0), ("heun", 0), ("pndm", -1)):
        expect_raises(student.model_calls, name, steps, what=f"model_calls({name!r}, {steps})")


HOMEWORK = [{"section": "1. DPM Solver Multistep scheduler", "scheduler": "DPMSolverMultistepScheduler"},
            {"section": "2. HEUN scheduler", "scheduler": "HeunDiscreteScheduler"},
            {"section": "3. LMS scheduler", "scheduler": "HeunDiscreteScheduler"},
            {"section": "4. PNDM scheduler", "scheduler": "PNDMScheduler"}]
OTHERS = [{"section": "DDIM, 50 steps", "scheduler": "DDIMScheduler"}, {"section": "Ablation: ddim", "scheduler": "DDPMScheduler"},
          {"section": "A first picture", "scheduler": "PNDMScheduler"}, {"section": "Euler (ancestral)", "scheduler": "EulerAncestralDiscreteScheduler"},
          {"section": "Heun or LMS", "scheduler": "LMSDiscreteScheduler"}, {"section": "Heun or LMS", "scheduler": "DDIMScheduler"},
          {"section": "Films and helms at night", "scheduler": "HeunDiscreteScheduler"}, {"section": "DPM", "scheduler": "DDPMScheduler"},
          {"section": "Heun or LMS", "scheduler": "HeunDiscreteScheduler"}, {"section": "PNDM: the default", "scheduler": "DDIMScheduler"}]


@task("ch11.mislabelled")
def test_mislabelled(student):
    got = student.mislabelled(HOMEWORK)
    expect_equal(got, [2], "mislabelled for the homework", {
        "every section was cleared; look at what was passed in section 3": [],
        "positions count from 0": [3],
        "these are the runs that are labelled well": [0, 1, 3],
        "capitals count for nothing: HEUN is Heun": [1, 2],
        "the scheduler's name is longer than the sampler's; compare only the beginning": [0, 1, 2, 3],
    })


@task("ch11.mislabelled")
def test_mislabelled_in_harder_cases(student):
    order = torch.randperm(len(OTHERS), generator=student.generator).tolist()
    runs = [OTHERS[i] for i in order]
    wrong = {"Ablation: ddim", "DPM", "PNDM: the default"}
    right = [i for i, run in enumerate(runs) if run["section"] in wrong or run == OTHERS[5]]
    got = student.mislabelled(runs)
    expect_type(got, list, "mislabelled")
    for i, run in enumerate(runs):
        should, does = i in right, i in got
        if should != does:
            note = {"Films and helms at night": "; LMS stands in it only inside other words, so it names no sampler", "A first picture": "; its title names no sampler",
                    "Heun or LMS": "; its title names two, and either is right", "DPM": "; DDPM is not DPM",
                    "Ablation: ddim": "; small letters name a sampler too", "DDIM, 50 steps": "; the comma is not part of the name",
                    "PNDM: the default": "; the colon is not part of the name",
                    "Euler (ancestral)": "; the brackets are not part of a name"}[run["section"]]
            expect(False, f"mislabelled should {'' if should else 'not '}report the section {run['section']!r} with {run['scheduler']}{note}")
    expect_equal(got, right, "mislabelled, the positions in rising order,")


@task("ch11.predict")
def test_predicted_and_measured(student):
    expect_written(student, "ch11.predict", ANSWERS)
