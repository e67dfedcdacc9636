"""Checks of exercises/ch16_sde.py."""

import math
from itertools import pairwise

import torch

from course.grading import task
from course.grading.checks import Counted, expect, expect_calls, expect_close, expect_type


def signs(student, *shape):
    return torch.where(student.rand(*shape) < 0.5, -1.0, 1.0)


@task("ch16.trace_guess")
def test_trace_guess(student):
    for B, D, K, dtype in ((3, 4, 5, torch.float32), (2, 3, 1, torch.float64), (1, 6, 3, torch.float32), (4, 2, 2, torch.float64)):
        jacobian, probes = student.randn(B, D, D).to(dtype), signs(student, K, B, D).to(dtype)
        each = torch.einsum("kbi,bij,kbj->kb", probes, jacobian, probes)
        expect_close(student.trace_guess(jacobian, probes), each.mean(0), f"trace_guess for {B} points in {D} dimensions with {K} probes ({str(dtype)[6:]})", {
            "this is the exact trace; guess it with the probes": lambda: jacobian.diagonal(dim1=1, dim2=2).sum(1),
            "this is the sum over the probes; take the mean": lambda: each.sum(0),
            "the mean was taken over the points, too": lambda: each.mean().expand(B),
            "only the first probe was used": lambda: each[0],
            "the second v is missing: this is the sum of J v": lambda: torch.einsum("bij,kbj->kb", jacobian, probes).mean(0),
            "it was divided by the dimension": lambda: each.mean(0) / D,
            "the probes were averaged before they met J; v enters twice": lambda: torch.einsum("bi,bij,bj->b", probes.mean(0), jacobian, probes.mean(0)),
        }, rtol=1e-3, atol=1e-4)


RATIOS = ([0.0, 0.5, 1.5, 4.0], [0.1, 3.0], [0.0, 0.02, 0.1, 0.3, 0.8, 2.0, 5.0, 14.6])


def field(u, r):
    return torch.tanh(u) / (1 + r)


def spread(u, r):
    return (1 - torch.tanh(u) ** 2).sum(1) / (1 + r)


def prior(u):
    return -(u**2).sum(1) / 50


def along(u, ratios, at=lambda u, v, r, s: (u, r), sign=1.0, total=0.0):
    for r, s in pairwise(ratios):
        v = u + (s - r) * field(u, r)
        total = total + sign * (s - r) * spread(*at(u, v, r, s))
        u = v
    return u, total


@task("ch16.log_likelihood")
def test_log_likelihood(student):
    for i, ratios in enumerate(RATIOS):
        dtype = torch.float64 if i % 2 else torch.float32
        u = (1.5 * student.randn(3 + i, 2 + i)).to(dtype)
        eps, divergence, ask = Counted(field), Counted(spread), Counted(prior)
        got = student.log_likelihood(eps, divergence, ask, u, list(ratios))
        steps = len(ratios) - 1
        expect_calls(eps, steps, "log_likelihood, of eps,", {"eps was asked once more than there are steps": steps + 1})
        expect_calls(divergence, steps, "log_likelihood, of the divergence,", {"the divergence was asked once more than there are steps": steps + 1})
        expect_calls(ask, 1, "log_likelihood, of the prior,", {"the prior is asked at the end only": steps})
        end, total = along(u, ratios)
        expect_close(got, prior(end) + total, f"log_likelihood over {steps} steps ({str(dtype)[6:]})", {
            "the divergence is subtracted; going up it is added": lambda u=u, ratios=ratios: prior(along(u, ratios)[0]) - along(u, ratios)[1],
            "the prior was asked where the path begins": lambda u=u, total=total: prior(u) + total,
            "the divergence was taken where the step ends":
                lambda u=u, ratios=ratios, end=end: prior(end) + along(u, ratios, lambda u, v, r, s: (v, s))[1],
            "the integral is missing: this is the prior at the end": lambda end=end: prior(end),
            "the prior is missing": lambda total=total: total,
            "the widths of the steps are missing in the integral":
                lambda u=u, ratios=ratios, end=end: prior(end) + sum_without_widths(u, ratios),
        }, rtol=1e-3, atol=1e-4)


def sum_without_widths(u, ratios):
    total = 0.0
    for r, s in pairwise(ratios):
        total, u = total + spread(u, r), u + (s - r) * field(u, r)
    return total


@task("ch16.log_likelihood")
def test_log_likelihood_of_a_normal(student):
    """N(0, 1) in u: at ratio r the density is N(0, 1 + r^2), eps = u r / (1 + r^2), and the answer is known."""
    u = student.randn(4, 1).double()
    ratios = [8.0 * (i / 1500) for i in range(1501)]
    got = student.log_likelihood(lambda x, r: x * r / (1 + r * r), lambda x, r: torch.full((len(x),), r / (1 + r * r), dtype=x.dtype),
                                 lambda x: -(x**2).sum(1) / 2 / 65 - 0.5 * math.log(2 * math.pi * 65), u, ratios)
    expect_close(got, -(u**2).sum(1) / 2 - 0.5 * math.log(2 * math.pi), "log_likelihood of points of a standard normal", atol=0.02)


CROWDS = ((7, 5, 9, 2, 0.05), (4, 1, 6, 3, 0.5), (12, 8, 30, 4, 0.1), (3, 6, 1, 2, 0.0), (9, 4, 12, 1, 0.9), (25, 6, 40, 2, 0.3))


@task("ch16.share_of_copies")
def test_share_of_copies(student):
    worlds = []
    for N, M, F, D, _ in CROWDS:
        training, samples = student.randn(M, D), student.randn(N, D)
        close = torch.arange(N) % 3 == 0
        samples[close] = training[torch.arange(N)[close] % M] + 0.001 * student.randn(int(close.sum()), D)
        worlds.append((samples, training, student.randn(F, D)))

    def shares(of):
        """of(distances of samples, of fresh points, quantile, samples, training, fresh) -> (left, right): which are nearer."""
        found = []
        for (samples, training, fresh), (*_, q) in zip(worlds, CROWDS, strict=True):
            near, usual = torch.cdist(samples, training).min(1).values, torch.cdist(fresh, training).min(1).values
            left, right = of(near, usual, q, samples, training, fresh)
            found.append((left < right).double().mean())
        return torch.stack(found)

    got = [student.share_of_copies(*world, q) for world, (*_, q) in zip(worlds, CROWDS, strict=True)]
    for each in got:
        expect_type(each, float, "what share_of_copies returns")
        expect(0 <= each <= 1, f"share_of_copies should be a share from 0 to 1, and is {each}")
    right = shares(lambda near, usual, q, *_: (near, torch.quantile(usual, q)))
    expect_close(torch.tensor(got, dtype=torch.float64), right, f"share_of_copies in {len(CROWDS)} worlds", {
        "this is the share of those that are no copies": lambda: shares(lambda near, usual, q, *_: (torch.quantile(usual, q), near)),
        "the distance to the farthest training point was taken":
            lambda: shares(lambda near, usual, q, s, t, f: (torch.cdist(s, t).max(1).values, torch.quantile(usual, q))),
        "the mean distance of fresh points was the yardstick; it should be their quantile": lambda: shares(lambda near, usual, q, *_: (near, usual.mean())),
        "the other end of the quantiles was taken": lambda: shares(lambda near, usual, q, *_: (near, torch.quantile(usual, 1 - q))),
        "samples were held against fresh points; the nearest training point counts":
            lambda: shares(lambda near, usual, q, s, t, f: (torch.cdist(s, f).min(1).values, torch.quantile(usual, q))),
        "fresh points were counted, not samples": lambda: shares(lambda near, usual, q, *_: (usual, torch.quantile(near, q))),
    })


@task("ch16.share_of_copies")
def test_copies_and_no_copies(student):
    training, fresh = student.randn(6, 3), student.randn(40, 3)
    expect_close(student.share_of_copies(training.clone(), training, fresh, 0.05), 1.0, "share_of_copies of the training points themselves", atol=1e-9)
    expect_close(student.share_of_copies(fresh + 9.0, training, fresh, 0.05), 0.0, "share_of_copies of points far away", atol=1e-9)
    tie = student.share_of_copies(torch.tensor([[0.0, 5.0], [3.0, 4.0], [1.0, 0.0]]), torch.zeros(1, 2), torch.tensor([[3.0, 4.0]]), 0.5)
    expect_close(tie, 1 / 3, "share_of_copies where two of three samples lie just as far as the yardstick, which is not strictly nearer,")


@task("ch16.sliced_loss")
def test_sliced_loss(student):
    for B, D, dtype in ((5, 3, torch.float32), (4, 2, torch.float64), (1, 4, torch.float32), (7, 1, torch.float64)):
        weight, x = student.randn(D, D).to(dtype), student.randn(B, D).to(dtype)
        probes = (signs(student, B, D) if D % 2 else student.randn(B, D)).to(dtype)          # probes may be normal, too
        slices = torch.einsum("bi,ij,bj->b", probes, weight, probes)
        length = (x @ weight).square().sum(1)
        expect_close(student.sliced_loss(weight, x, probes), (slices + length / 2).mean(), f"sliced_loss of {B} points in {D} dimensions ({str(dtype)[6:]})", {
            "the half before the squared length is missing": lambda: (slices + length).mean(),
            "the first part should be added": lambda: (length / 2 - slices).mean(),
            "this is the sum over the points; take the mean": lambda: (slices + length / 2).sum(),
            "the exact trace was taken; use the probes": lambda: weight.diagonal().sum() + length.mean() / 2,
            "the first part is missing: a score of 0 would be best": lambda: length.mean() / 2,
            "the second part is missing": lambda: slices.mean(),
            "the squared length was averaged over the coordinates; sum them": lambda: (slices + (x @ weight).square().mean(1) / 2).mean(),
            "points are rows: the score is x @ weight": lambda: (slices + (x @ weight.T).square().sum(1) / 2).mean(),
            "v . (J v) takes probes on both sides, not the point": lambda: (torch.einsum("bi,ij,bj->b", probes, weight, x) + length / 2).mean(),
        }, rtol=1e-3, atol=1e-4)


@task("ch16.sliced_loss")
def test_sliced_loss_can_be_trained_on(student):
    weight, x, probes = student.randn(3, 3), student.randn(8, 3), signs(student, 8, 3)
    _, gradient = student.gradient("sliced_loss", weight, x, probes, wrt=0)
    expect(gradient is not None, "sliced_loss should have a gradient by weight: no .detach(), .data or no_grad on the way")
    expect_close(gradient, (probes.T @ probes + x.T @ x @ weight) / 8, "the gradient of sliced_loss by weight", rtol=1e-3, atol=1e-4)
