"""Statements about the Gaussian diffusion whose truth is found here by hand-written numbers, not by the checker.

Every statement comes with two functions that compute its sides in a random world (schedule, x's, network): the schedule by
multiplying, the posterior by conditioning a joint Gaussian, KL divergences by quadrature, gradients by differences. A
statement is true if the sides agree in all worlds and at all t, else false. The checker must say the same.
"""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from course.equations.reading import tree
from course.equations.reading.reader import read_statement
from course.equations.search import gaussian

T, D = 7, 3


class World:
    """Random numbers for everything: beta_1..beta_T, x_0..x_T (arbitrary points), a network, free symbols."""

    def __init__(self, seed, t):
        rng = np.random.default_rng(seed)
        self.t, self.d = t, D
        self.beta = [None, *rng.uniform(0.05, 0.6, T)]
        self.x = [rng.normal(size=D) for _ in range(T + 1)]
        self.weights, self.shift = rng.normal(size=(D, D)), rng.normal(size=(T + 1, D))
        self.sigma = [None, *rng.uniform(0.1, 0.9, T)]
        self.mu1, self.mu2, self.s1, self.s2 = rng.normal(size=D), rng.normal(size=D), *rng.uniform(0.3, 2, 2)

    def al(self, k=0):
        return 1 - self.beta[self.t + k]

    def be(self, k=0):
        return self.beta[self.t + k]

    def ab(self, k=0):
        return self.bar(self.t + k)

    def bar(self, i):
        return math.prod(1 - b for b in self.beta[1 : i + 1])

    @property
    def sg(self):
        return self.sigma[self.t]

    @property
    def x0(self):
        return self.x[0]

    @property
    def xt(self):
        return self.x[self.t]

    @property
    def xp(self):
        return self.x[self.t - 1]

    @property
    def eps(self):
        """The noise that takes x_0 to x_t."""
        return (self.xt - math.sqrt(self.ab()) * self.x0) / math.sqrt(1 - self.ab())

    def net(self, x=None, k=0):
        x = self.xt if x is None else x
        return np.tanh(self.weights @ x) + self.shift[self.t + k]

    def posterior(self, x=None, x0=None):
        """Mean and variance of x_{t-1} given x_t and x_0, from the joint covariance of (x_{t-1}, x_t) given x_0."""
        x, x0 = self.xt if x is None else x, self.x0 if x0 is None else x0
        before, now = 1.0, 1.0  # coefficient of x_0
        var_before = var_now = covariance = 0.0
        for i in range(1, self.t + 1):
            before, var_before = now, var_now
            root = math.sqrt(1 - self.beta[i])
            now, var_now, covariance = root * before, root**2 * var_before + self.beta[i], root * var_before
        gain = covariance / var_now
        return before * x0 + gain * (x - now * x0), var_before - gain * covariance


def logpdf(x, mean, var):
    return sum(-0.5 * (a - m) ** 2 / var - 0.5 * math.log(2 * math.pi * var) for a, m in zip(x, mean * np.ones(D), strict=True))


NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(40)


def expect(f, mean, var):
    """The average of f (a sum over dimensions of functions of one number) over N(mean, var I), by quadrature."""
    return sum(float((WEIGHTS / WEIGHTS.sum()) @ f(m + math.sqrt(var) * NODES, i)) for i, m in enumerate(mean))


def kl(m1, v1, m2, v2):
    m1, m2 = m1 * np.ones(D), m2 * np.ones(D)
    return expect(
        lambda x, i: (x - m2[i]) ** 2 / (2 * v2) + math.log(v2) / 2 - (x - m1[i]) ** 2 / (2 * v1) - math.log(v1) / 2, m1, v1
    )


def gradient(f, x):
    step = 1e-5
    return np.array([(f(x + step * e) - f(x - step * e)) / (2 * step) for e in np.eye(D)])


def norm2(v):
    return float(v @ v)


def one_step(w, x=None):
    return math.sqrt(w.al()), w.be()


def x0_hat(w):
    return (w.xt - math.sqrt(1 - w.ab()) * w.net()) / math.sqrt(w.ab())


def mu_theta(w):
    return w.posterior(x0=x0_hat(w))[0]


def snr(w, k=0):
    return w.ab(k) / (1 - w.ab(k))


sq = math.sqrt
MU = r"\tilde\mu_t(x_t, x_0)"
SCORE = r"\nabla_{x_t} \log q(x_t|x_0)"


def score(w):
    return gradient(lambda x: logpdf(x, sq(w.ab()) * w.x0, 1 - w.ab()), w.xt)


def velocity(w):
    return sq(w.ab()) * w.eps - sq(1 - w.ab()) * w.x0


# (LaTeX, is it true, left side, right side)
CASES = [
    # ---- the schedule
    (r"\alpha_t = 1 - \beta_t", True, lambda w: w.al(), lambda w: 1 - w.be()),
    (r"\beta_t = 1 + \alpha_t", False, lambda w: w.be(), lambda w: 1 + w.al()),
    (r"\bar\alpha_t = \alpha_t \bar\alpha_{t-1}", True, lambda w: w.ab(), lambda w: w.al() * w.ab(-1)),
    (r"\bar{\alpha}_t = (1-\beta_t)\, \bar{\alpha}_{t-1}", True, lambda w: w.ab(), lambda w: (1 - w.be()) * w.ab(-1)),
    (r"\overline{\alpha}_t = \alpha_t \alpha_{t-1}", False, lambda w: w.ab(), lambda w: w.al() * w.al(-1)),
    (r"\bar\alpha_t = \alpha_{t-1} \bar\alpha_{t-1}", False, lambda w: w.ab(), lambda w: w.al(-1) * w.ab(-1)),
    (r"\bar\alpha_t = \bar\alpha_{t-1} - \beta_t", False, lambda w: w.ab(), lambda w: w.ab(-1) - w.be()),
    (r"\bar\alpha_t = \prod_{s=1}^t \alpha_s", True, lambda w: w.ab(), lambda w: math.prod(1 - b for b in w.beta[1 : w.t + 1])),
    (
        r"\bar\alpha_t = \prod_{s=1}^t (1-\beta_s)",
        True,
        lambda w: w.ab(),
        lambda w: math.prod(1 - b for b in w.beta[1 : w.t + 1]),
    ),
    (
        r"\bar\alpha_t = \prod_{s=1}^{t-1} \alpha_s",
        False,
        lambda w: w.ab(),
        lambda w: math.prod(1 - b for b in w.beta[1 : w.t]),
    ),
    (
        r"\bar\alpha_t = \prod_{s=2}^{t} \alpha_s",
        False,
        lambda w: w.ab(),
        lambda w: math.prod(1 - b for b in w.beta[2 : w.t + 1]),
    ),
    (r"\bar\alpha_t = \prod_{s=1}^{t} \beta_s", False, lambda w: w.ab(), lambda w: math.prod(w.beta[1 : w.t + 1])),
    (
        r"\bar\alpha_t = \bar\alpha_s \prod_{i=s+1}^{t} \alpha_i",
        True,
        lambda w: w.ab(),
        lambda w: w.bar(1) * math.prod(1 - b for b in w.beta[2 : w.t + 1]),
    ),
    (
        r"1-\bar\alpha_t = \sum_{s=1}^{t} \beta_s \frac{\bar\alpha_t}{\bar\alpha_s}",
        True,
        lambda w: 1 - w.ab(),
        lambda w: sum(w.beta[s] * w.ab() / w.bar(s) for s in range(1, w.t + 1)),
    ),
    (r"1-\bar\alpha_t = \sum_{s=1}^{t} \beta_s", False, lambda w: 1 - w.ab(), lambda w: sum(w.beta[1 : w.t + 1])),
    (
        r"\prod_{s=1}^{t} \sqrt{\alpha_s} = \sqrt{\bar\alpha_t}",
        True,
        lambda w: math.prod(sq(1 - b) for b in w.beta[1 : w.t + 1]),
        lambda w: sq(w.ab()),
    ),
    (r"\frac{\bar\alpha_t}{\bar\alpha_{t-1}} = 1-\beta_t", True, lambda w: w.ab() / w.ab(-1), lambda w: 1 - w.be()),
    (r"\frac{\bar\alpha_t}{\bar\alpha_{t-1}} = \beta_t", False, lambda w: w.ab() / w.ab(-1), lambda w: w.be()),
    (
        r"1 - \bar\alpha_t = (1-\bar\alpha_{t-1})\alpha_t + \beta_t",
        True,
        lambda w: 1 - w.ab(),
        lambda w: (1 - w.ab(-1)) * w.al() + w.be(),
    ),
    (r"1 - \bar\alpha_t = (1-\bar\alpha_{t-1}) + \beta_t", False, lambda w: 1 - w.ab(), lambda w: (1 - w.ab(-1)) + w.be()),
    (
        r"\text{SNR}(t) = \frac{\bar\alpha_t}{1-\bar\alpha_t}",
        True,
        lambda w: norm2(sq(w.ab()) * np.ones(1)) / (1 - w.ab()),
        snr,
    ),
    (r"\text{SNR}(t) = \sqrt{\frac{\bar\alpha_t}{1-\bar\alpha_t}}", False, snr, lambda w: sq(snr(w))),
    (r"\text{SNR}(t) = \frac{\alpha_t}{1-\alpha_t}", False, snr, lambda w: w.al() / w.be()),
    (r"\text{SNR}(t) = \frac{1-\bar\alpha_t}{\bar\alpha_t}", False, snr, lambda w: 1 / snr(w)),
    (r"\bar\alpha_t = \frac{\text{SNR}(t)}{1+\text{SNR}(t)}", True, lambda w: w.ab(), lambda w: snr(w) / (1 + snr(w))),
    # ---- the closed form and the steps; sides are (mean, variance) of x_t where a line speaks of a law
    (
        r"x_t = \sqrt{\bar\alpha_t}\, x_0 + \sqrt{1-\bar\alpha_t}\, \epsilon",
        True,
        lambda w: w.xt,
        lambda w: sq(w.ab()) * w.x0 + sq(1 - w.ab()) * w.eps,
    ),
    (
        r"\mathbf{x}_t = \sqrt{\alpha_t}\, \mathbf{x}_0 + \sqrt{1-\alpha_t}\, \boldsymbol{\epsilon}",
        False,
        lambda w: w.xt,
        lambda w: sq(w.al()) * w.x0 + sq(1 - w.al()) * w.eps,
    ),
    (
        r"x_t = \bar\alpha_t x_0 + (1-\bar\alpha_t) \epsilon",
        False,
        lambda w: w.xt,
        lambda w: w.ab() * w.x0 + (1 - w.ab()) * w.eps,
    ),
    (
        r"x_t = \sqrt{\bar\alpha_t} x_0 + (1-\bar\alpha_t) \epsilon",
        False,
        lambda w: w.xt,
        lambda w: sq(w.ab()) * w.x0 + (1 - w.ab()) * w.eps,
    ),
    (
        r"x_t = \sqrt{1-\bar\alpha_t} x_0 + \sqrt{\bar\alpha_t} \epsilon",
        False,
        lambda w: w.xt,
        lambda w: sq(1 - w.ab()) * w.x0 + sq(w.ab()) * w.eps,
    ),
    (
        r"x_0 = \frac{x_t - \sqrt{1-\bar\alpha_t}\,\varepsilon}{\sqrt{\bar\alpha_t}}",
        True,
        lambda w: w.x0,
        lambda w: (w.xt - sq(1 - w.ab()) * w.eps) / sq(w.ab()),
    ),
    (
        r"x_0 = \frac{x_t + \sqrt{1-\bar\alpha_t}\,\epsilon}{\sqrt{\bar\alpha_t}}",
        False,
        lambda w: w.x0,
        lambda w: (w.xt + sq(1 - w.ab()) * w.eps) / sq(w.ab()),
    ),
    (
        r"x_0 = \frac{x_t - \sqrt{1-\bar\alpha_t}\,\epsilon}{\bar\alpha_t}",
        False,
        lambda w: w.x0,
        lambda w: (w.xt - sq(1 - w.ab()) * w.eps) / w.ab(),
    ),
    (
        r"\epsilon = \frac{x_t - \sqrt{\bar\alpha_t}\, x_0}{\sqrt{1-\bar\alpha_t}}",
        True,
        lambda w: w.eps,
        lambda w: (w.xt - sq(w.ab()) * w.x0) / sq(1 - w.ab()),
    ),
    (
        r"\epsilon = \frac{x_t - \sqrt{\bar\alpha_t}\, x_0}{1-\bar\alpha_t}",
        False,
        lambda w: w.eps,
        lambda w: (w.xt - sq(w.ab()) * w.x0) / (1 - w.ab()),
    ),
    (
        r"x_t = \sqrt{\alpha_t}\, x_{t-1} + \sqrt{1-\alpha_t}\, \epsilon_{t-1}",
        True,
        one_step,
        lambda w: (sq(w.al()), 1 - w.al()),
    ),
    (r"x_t = \sqrt{1-\beta_t}\, x_{t-1} + \sqrt{\beta_t}\, \epsilon_t", True, one_step, lambda w: (sq(1 - w.be()), w.be())),
    (r"x_t = \sqrt{1-\beta_t}\, x_{t-1} + \beta_t\, \epsilon_t", False, one_step, lambda w: (sq(1 - w.be()), w.be() ** 2)),
    (r"x_t = \sqrt{\beta_t}\, x_{t-1} + \sqrt{1-\beta_t}\, \epsilon_t", False, one_step, lambda w: (sq(w.be()), 1 - w.be())),
    (
        r"x_t = \sqrt{\alpha_t \alpha_{t-1}}\, x_{t-2} + \sqrt{1-\alpha_t \alpha_{t-1}}\, \bar\epsilon",
        True,
        lambda w: (sq(w.ab() / w.ab(-2)), w.be() + w.al() * w.be(-1)),
        lambda w: (sq(w.al() * w.al(-1)), 1 - w.al() * w.al(-1)),
    ),
    (
        r"\sqrt{\alpha_t(1-\alpha_{t-1})}\, \epsilon_{t-2} + \sqrt{1-\alpha_t}\, \epsilon_{t-1} = \sqrt{1-\alpha_t\alpha_{t-1}}\, \bar\epsilon",
        True,
        lambda w: w.al() * w.be(-1) + w.be(),
        lambda w: 1 - w.al() * w.al(-1),
    ),
    (
        r"\sqrt{\alpha_t(1-\alpha_{t-1})}\, \epsilon_{t-2} + \sqrt{1-\alpha_t}\, \epsilon_{t-1} = (\sqrt{\alpha_t(1-\alpha_{t-1})} + \sqrt{1-\alpha_t})\, \bar\epsilon",
        False,
        lambda w: w.al() * w.be(-1) + w.be(),
        lambda w: (sq(w.al() * w.be(-1)) + sq(w.be())) ** 2,
    ),
    # ---- densities
    (
        r"q(x_t|x_0) = \mathcal{N}(x_t; \sqrt{\bar\alpha_t} x_0, (1-\bar\alpha_t) I)",
        True,
        lambda w: logpdf(w.xt, sq(w.ab()) * w.x0, sum(w.beta[s] * w.ab() / w.bar(s) for s in range(1, w.t + 1))),
        lambda w: logpdf(w.xt, sq(w.ab()) * w.x0, 1 - w.ab()),
    ),
    (
        r"q(x_t|x_0) = \mathcal{N}(x_t; \bar\alpha_t x_0, (1-\bar\alpha_t) I)",
        False,
        lambda w: logpdf(w.xt, sq(w.ab()) * w.x0, 1 - w.ab()),
        lambda w: logpdf(w.xt, w.ab() * w.x0, 1 - w.ab()),
    ),
    (
        r"q(x_t|x_0) = \mathcal{N}(x_t; \sqrt{\bar\alpha_t} x_0, \sqrt{1-\bar\alpha_t} I)",
        False,
        lambda w: logpdf(w.xt, sq(w.ab()) * w.x0, 1 - w.ab()),
        lambda w: logpdf(w.xt, sq(w.ab()) * w.x0, sq(1 - w.ab())),
    ),
    (
        r"q(x_t|x_{t-1}) = \mathcal{N}(x_t; \sqrt{1-\beta_t} x_{t-1}, \beta_t \mathbf I)",
        True,
        lambda w: logpdf(w.xt, sq(w.al()) * w.xp, w.be()),
        lambda w: logpdf(w.xt, sq(1 - w.be()) * w.xp, w.be()),
    ),
    (
        r"q(x_t|x_{t-1}) = \mathcal{N}(x_t; \sqrt{\bar\alpha_t} x_{t-1}, (1-\bar\alpha_t) \mathbf I)",
        False,
        lambda w: logpdf(w.xt, sq(w.al()) * w.xp, w.be()),
        lambda w: logpdf(w.xt, sq(w.ab()) * w.xp, 1 - w.ab()),
    ),
    (
        r"q(x_{t-1}|x_t, x_0) = \mathcal{N}(x_{t-1}; \tilde\mu_t(x_t, x_0), \tilde\beta_t \mathbf I)",
        True,
        lambda w: (
            logpdf(w.xt, sq(w.al()) * w.xp, w.be())
            + logpdf(w.xp, sq(w.ab(-1)) * w.x0, 1 - w.ab(-1))
            - logpdf(w.xt, sq(w.ab()) * w.x0, 1 - w.ab())
        ),
        lambda w: logpdf(w.xp, *w.posterior()),
    ),
    (
        r"q(x_{t-1}|x_t, x_0) = \mathcal{N}(x_{t-1}; \tilde\mu_t(x_t, x_0), \beta_t \mathbf I)",
        False,
        lambda w: logpdf(w.xp, *w.posterior()),
        lambda w: logpdf(w.xp, w.posterior()[0], w.be()),
    ),
    (
        r"q(x_{t-1}|x_t, x_0) = \mathcal{N}(x_t; \tilde\mu_t(x_t, x_0), \tilde\beta_t \mathbf I)",
        False,
        lambda w: logpdf(w.xp, *w.posterior()),
        lambda w: logpdf(w.xt, *w.posterior()),
    ),
    (
        r"q(x_{t-1}|x_t, x_0) = \frac{q(x_t|x_{t-1})\, q(x_{t-1}|x_0)}{q(x_t|x_0)}",
        True,
        lambda w: logpdf(w.xp, *w.posterior()),
        lambda w: (
            logpdf(w.xt, sq(w.al()) * w.xp, w.be())
            + logpdf(w.xp, sq(w.ab(-1)) * w.x0, 1 - w.ab(-1))
            - logpdf(w.xt, sq(w.ab()) * w.x0, 1 - w.ab())
        ),
    ),
    (
        r"q(x_{t-1}|x_t, x_0) = \frac{q(x_t|x_{t-1})\, q(x_t|x_0)}{q(x_{t-1}|x_0)}",
        False,
        lambda w: logpdf(w.xp, *w.posterior()),
        lambda w: (
            logpdf(w.xt, sq(w.al()) * w.xp, w.be())
            - logpdf(w.xp, sq(w.ab(-1)) * w.x0, 1 - w.ab(-1))
            + logpdf(w.xt, sq(w.ab()) * w.x0, 1 - w.ab())
        ),
    ),
    # ---- the posterior's mean and variance
    (
        r"\tilde\beta_t = \frac{1-\bar\alpha_{t-1}}{1-\bar\alpha_t} \beta_t",
        True,
        lambda w: w.posterior()[1],
        lambda w: (1 - w.ab(-1)) / (1 - w.ab()) * w.be(),
    ),
    (
        r"\tilde\beta_t = \frac{1-\bar\alpha_t}{1-\bar\alpha_{t-1}} \beta_t",
        False,
        lambda w: w.posterior()[1],
        lambda w: (1 - w.ab()) / (1 - w.ab(-1)) * w.be(),
    ),
    (
        r"\tilde\beta_t = \frac{1-\alpha_{t-1}}{1-\alpha_t} \beta_t",
        False,
        lambda w: w.posterior()[1],
        lambda w: (1 - w.al(-1)) / (1 - w.al()) * w.be(),
    ),
    (
        r"\tilde\beta_t = \left(\frac{\alpha_t}{\beta_t} + \frac{1}{1-\bar\alpha_{t-1}}\right)^{-1}",
        True,
        lambda w: w.posterior()[1],
        lambda w: 1 / (w.al() / w.be() + 1 / (1 - w.ab(-1))),
    ),
    (
        r"\tilde\beta_t = \frac{\alpha_t}{\beta_t} + \frac{1}{1-\bar\alpha_{t-1}}",
        False,
        lambda w: w.posterior()[1],
        lambda w: w.al() / w.be() + 1 / (1 - w.ab(-1)),
    ),
    (
        MU
        + r" = \frac{\sqrt{\bar\alpha_{t-1}}\beta_t}{1-\bar\alpha_t} x_0 + \frac{\sqrt{\alpha_t}(1-\bar\alpha_{t-1})}{1-\bar\alpha_t} x_t",
        True,
        lambda w: w.posterior()[0],
        lambda w: sq(w.ab(-1)) * w.be() / (1 - w.ab()) * w.x0 + sq(w.al()) * (1 - w.ab(-1)) / (1 - w.ab()) * w.xt,
    ),
    # true at t = 2, where \bar\alpha_1 = alpha_1; false from t = 3 on
    (
        MU
        + r" = \frac{\sqrt{\alpha_{t-1}}\beta_t}{1-\bar\alpha_t} x_0 + \frac{\sqrt{\alpha_t}(1-\bar\alpha_{t-1})}{1-\bar\alpha_t} x_t",
        False,
        lambda w: w.posterior()[0],
        lambda w: sq(w.al(-1)) * w.be() / (1 - w.ab()) * w.x0 + sq(w.al()) * (1 - w.ab(-1)) / (1 - w.ab()) * w.xt,
    ),
    (
        MU
        + r" = \frac{\sqrt{\alpha_t}(1-\bar\alpha_{t-1})}{1-\bar\alpha_t} x_0 + \frac{\sqrt{\bar\alpha_{t-1}}\beta_t}{1-\bar\alpha_t} x_t",
        False,
        lambda w: w.posterior()[0],
        lambda w: sq(w.al()) * (1 - w.ab(-1)) / (1 - w.ab()) * w.x0 + sq(w.ab(-1)) * w.be() / (1 - w.ab()) * w.xt,
    ),
    (
        MU
        + r" = \frac{\sqrt{\bar\alpha_t}\beta_t}{1-\bar\alpha_t} x_0 + \frac{\sqrt{\alpha_t}(1-\bar\alpha_{t-1})}{1-\bar\alpha_t} x_t",
        False,
        lambda w: w.posterior()[0],
        lambda w: sq(w.ab()) * w.be() / (1 - w.ab()) * w.x0 + sq(w.al()) * (1 - w.ab(-1)) / (1 - w.ab()) * w.xt,
    ),
    (
        MU + r" = \frac{1}{\sqrt{\alpha_t}} \left(x_t - \frac{\beta_t}{\sqrt{1-\bar\alpha_t}} \epsilon\right)",
        True,
        lambda w: w.posterior()[0],
        lambda w: (w.xt - w.be() / sq(1 - w.ab()) * w.eps) / sq(w.al()),
    ),
    (
        MU + r" = \frac{1}{\sqrt{\alpha_t}} \left(x_t - \frac{\beta_t}{\sqrt{1-\alpha_t}} \epsilon\right)",
        False,
        lambda w: w.posterior()[0],
        lambda w: (w.xt - w.be() / sq(1 - w.al()) * w.eps) / sq(w.al()),
    ),
    (
        MU + r" = \frac{1}{\sqrt{\alpha_t}} \left(x_t + \frac{\beta_t}{\sqrt{1-\bar\alpha_t}} \epsilon\right)",
        False,
        lambda w: w.posterior()[0],
        lambda w: (w.xt + w.be() / sq(1 - w.ab()) * w.eps) / sq(w.al()),
    ),
    (
        MU + r" = \frac{1}{\sqrt{\bar\alpha_t}} \left(x_t - \frac{\beta_t}{\sqrt{1-\bar\alpha_t}} \epsilon\right)",
        False,
        lambda w: w.posterior()[0],
        lambda w: (w.xt - w.be() / sq(1 - w.ab()) * w.eps) / sq(w.ab()),
    ),
    (
        r"\frac{1}{\sqrt{\alpha_t}} \left(x_t + \beta_t \nabla_{x_t}\log q(x_t|x_0)\right) = \tilde\mu_t(x_t, x_0)",
        True,
        lambda w: (w.xt + w.be() * score(w)) / sq(w.al()),
        lambda w: w.posterior()[0],
    ),
    # DDIM with sigma^2 = \tilde\beta
    (
        MU + r" = \sqrt{\bar\alpha_{t-1}}\, x_0 + \sqrt{1-\bar\alpha_{t-1}-\tilde\beta_t}\, \epsilon",
        True,
        lambda w: w.posterior()[0],
        lambda w: sq(w.ab(-1)) * w.x0 + sq(1 - w.ab(-1) - w.posterior()[1]) * w.eps,
    ),
    (
        MU + r" = \sqrt{\bar\alpha_{t-1}}\, x_0 + \sqrt{1-\bar\alpha_{t-1}-\beta_t}\, \epsilon",
        False,
        lambda w: w.posterior()[0],
        lambda w: sq(w.ab(-1)) * w.x0 + sq(max(0, 1 - w.ab(-1) - w.be())) * w.eps,
    ),
    (
        MU + r" = \sqrt{\bar\alpha_{t-1}}\, x_0 + \sqrt{1-\bar\alpha_{t-1}}\, \epsilon",
        False,
        lambda w: w.posterior()[0],
        lambda w: sq(w.ab(-1)) * w.x0 + sq(1 - w.ab(-1)) * w.eps,
    ),
    (
        r"x_{t-1} = \sqrt{\bar\alpha_{t-1}}\, x_0 + \sqrt{1-\bar\alpha_{t-1}-\sigma_t^2}\, \epsilon + \sigma_t z",
        True,
        lambda w: (sq(w.ab(-1)), 1 - w.ab(-1)),
        lambda w: (sq(w.ab(-1)), (1 - w.ab(-1) - w.sg**2) + w.sg**2),
    ),
    (
        r"x_{t-1} = \sqrt{\bar\alpha_{t-1}}\, x_0 + \sqrt{1-\bar\alpha_{t-1}+\sigma_t^2}\, \epsilon + \sigma_t z",
        False,
        lambda w: (sq(w.ab(-1)), 1 - w.ab(-1)),
        lambda w: (sq(w.ab(-1)), (1 - w.ab(-1) + w.sg**2) + w.sg**2),
    ),
    # ---- score and velocity
    (SCORE + r" = -\frac{\epsilon}{\sqrt{1-\bar\alpha_t}}", True, score, lambda w: -w.eps / sq(1 - w.ab())),
    (SCORE + r" = \frac{\epsilon}{\sqrt{1-\bar\alpha_t}}", False, score, lambda w: w.eps / sq(1 - w.ab())),
    (SCORE + r" = -\frac{\epsilon}{1-\bar\alpha_t}", False, score, lambda w: -w.eps / (1 - w.ab())),
    (
        SCORE + r" = -\frac{x_t - \sqrt{\bar\alpha_t} x_0}{1-\bar\alpha_t}",
        True,
        score,
        lambda w: -(w.xt - sq(w.ab()) * w.x0) / (1 - w.ab()),
    ),
    (
        SCORE + r" = -\frac{x_t - \sqrt{\bar\alpha_t} x_0}{\sqrt{1-\bar\alpha_t}}",
        False,
        score,
        lambda w: -(w.xt - sq(w.ab()) * w.x0) / sq(1 - w.ab()),
    ),
    (
        r"v = \sqrt{\bar\alpha_t}\,\epsilon - \sqrt{1-\bar\alpha_t}\,x_0",
        True,
        velocity,
        lambda w: sq(w.ab()) * w.eps - sq(1 - w.ab()) * w.x0,
    ),
    (
        r"v = \sqrt{\bar\alpha_t}\,x_0 - \sqrt{1-\bar\alpha_t}\,\epsilon",
        False,
        velocity,
        lambda w: sq(w.ab()) * w.x0 - sq(1 - w.ab()) * w.eps,
    ),
    (
        r"v = \sqrt{\bar\alpha_t}\,\epsilon + \sqrt{1-\bar\alpha_t}\,x_0",
        False,
        velocity,
        lambda w: sq(w.ab()) * w.eps + sq(1 - w.ab()) * w.x0,
    ),
    (
        r"x_0 = \sqrt{\bar\alpha_t}\,x_t - \sqrt{1-\bar\alpha_t}\,v",
        True,
        lambda w: w.x0,
        lambda w: sq(w.ab()) * w.xt - sq(1 - w.ab()) * velocity(w),
    ),
    (
        r"\epsilon = \sqrt{1-\bar\alpha_t}\,x_t + \sqrt{\bar\alpha_t}\,v",
        True,
        lambda w: w.eps,
        lambda w: sq(1 - w.ab()) * w.xt + sq(w.ab()) * velocity(w),
    ),
    (
        r"\epsilon = \sqrt{1-\bar\alpha_t}\,x_t - \sqrt{\bar\alpha_t}\,v",
        False,
        lambda w: w.eps,
        lambda w: sq(1 - w.ab()) * w.xt - sq(w.ab()) * velocity(w),
    ),
    # ---- divergences, norms, weights
    (
        r"D_{KL}(\mathcal{N}(\mu_1, \sigma_1^2 I) \,\|\, \mathcal{N}(\mu_2, \sigma_2^2 I)) = d\log\frac{\sigma_2}{\sigma_1} + \frac{d\sigma_1^2 + \|\mu_1-\mu_2\|^2}{2\sigma_2^2} - \frac{d}{2}",
        True,
        lambda w: kl(w.mu1, w.s1**2, w.mu2, w.s2**2),
        lambda w: D * math.log(w.s2 / w.s1) + (D * w.s1**2 + norm2(w.mu1 - w.mu2)) / (2 * w.s2**2) - D / 2,
    ),
    (
        r"D_{KL}(\mathcal{N}(\mu_1, \sigma_1^2 I) \,\|\, \mathcal{N}(\mu_2, \sigma_2^2 I)) = d\log\frac{\sigma_1}{\sigma_2} + \frac{d\sigma_1^2 + \|\mu_1-\mu_2\|^2}{2\sigma_2^2} - \frac{d}{2}",
        False,
        lambda w: kl(w.mu1, w.s1**2, w.mu2, w.s2**2),
        lambda w: D * math.log(w.s1 / w.s2) + (D * w.s1**2 + norm2(w.mu1 - w.mu2)) / (2 * w.s2**2) - D / 2,
    ),
    (
        r"D_{KL}(\mathcal{N}(\mu_1, \sigma_1^2 I) \,\|\, \mathcal{N}(\mu_2, \sigma_2^2 I)) = d\log\frac{\sigma_2}{\sigma_1} + \frac{d\sigma_1^2 + \|\mu_1-\mu_2\|^2}{2\sigma_2^2} - \frac{1}{2}",
        False,
        lambda w: kl(w.mu1, w.s1**2, w.mu2, w.s2**2),
        lambda w: D * math.log(w.s2 / w.s1) + (D * w.s1**2 + norm2(w.mu1 - w.mu2)) / (2 * w.s2**2) - 1 / 2,
    ),
    (
        r"D_{KL}(\mathcal{N}(\mu_1, \sigma_1^2 I) \,\|\, \mathcal{N}(\mu_2, \sigma_1^2 I)) = \frac{\|\mu_1-\mu_2\|^2}{2\sigma_1^2}",
        True,
        lambda w: kl(w.mu1, w.s1**2, w.mu2, w.s1**2),
        lambda w: norm2(w.mu1 - w.mu2) / (2 * w.s1**2),
    ),
    (
        r"D_{KL}(\mathcal{N}(\mu_1, \sigma_1^2 I) \,\|\, \mathcal{N}(\mu_2, \sigma_1^2 I)) = \frac{\|\mu_1-\mu_2\|^2}{\sigma_1^2}",
        False,
        lambda w: kl(w.mu1, w.s1**2, w.mu2, w.s1**2),
        lambda w: norm2(w.mu1 - w.mu2) / w.s1**2,
    ),
    (
        r"D_{KL}(\mathcal{N}(\mu_1, \sigma_1^2 I) \,\|\, \mathcal{N}(0, I)) = \frac12\left(\|\mu_1\|^2 + d\sigma_1^2 - d - d\log\sigma_1^2\right)",
        True,
        lambda w: kl(w.mu1, w.s1**2, 0, 1),
        lambda w: 0.5 * (norm2(w.mu1) + D * w.s1**2 - D - D * math.log(w.s1**2)),
    ),
    (
        r"D_{KL}(\mathcal{N}(\mu_1, \sigma_1^2 I) \,\|\, \mathcal{N}(0, I)) = \frac12\left(\|\mu_1\|^2 + d\sigma_1^2 - d + d\log\sigma_1^2\right)",
        False,
        lambda w: kl(w.mu1, w.s1**2, 0, 1),
        lambda w: 0.5 * (norm2(w.mu1) + D * w.s1**2 - D + D * math.log(w.s1**2)),
    ),
    (
        r"D_{KL}(q(x_T|x_0) \,\|\, p(x_T)) = \frac12 \left(\bar\alpha_T \|x_0\|^2 - d\bar\alpha_T - d\log(1-\bar\alpha_T)\right)",
        True,
        lambda w: kl(sq(w.bar(T)) * w.x0, 1 - w.bar(T), 0, 1),
        lambda w: 0.5 * (w.bar(T) * norm2(w.x0) - D * w.bar(T) - D * math.log(1 - w.bar(T))),
    ),
    (
        r"\|\tilde\mu_t(x_t, x_0) - \mu_\theta(x_t, t)\|^2 = \frac{\beta_t^2}{\alpha_t(1-\bar\alpha_t)} \|\epsilon - \epsilon_\theta(x_t, t)\|^2",
        True,
        lambda w: norm2(w.posterior()[0] - mu_theta(w)),
        lambda w: w.be() ** 2 / (w.al() * (1 - w.ab())) * norm2(w.eps - w.net()),
    ),
    (
        r"\|\tilde\mu_t(x_t, x_0) - \mu_\theta(x_t, t)\|^2 = \frac{\beta_t}{\alpha_t(1-\bar\alpha_t)} \|\epsilon - \epsilon_\theta(x_t, t)\|^2",
        False,
        lambda w: norm2(w.posterior()[0] - mu_theta(w)),
        lambda w: w.be() / (w.al() * (1 - w.ab())) * norm2(w.eps - w.net()),
    ),
    (
        r"\|\tilde\mu_t(x_t, x_0) - \mu_\theta(x_t, t)\|^2 = \frac{\beta_t^2}{\alpha_t(1-\alpha_t)} \|\epsilon - \epsilon_\theta(x_t, t)\|^2",
        False,
        lambda w: norm2(w.posterior()[0] - mu_theta(w)),
        lambda w: w.be() ** 2 / (w.al() * (1 - w.al())) * norm2(w.eps - w.net()),
    ),
    (
        r"\frac{\beta_t^2}{2\tilde\beta_t\alpha_t(1-\bar\alpha_t)} = \frac{\beta_t}{2\alpha_t(1-\bar\alpha_{t-1})}",
        True,
        lambda w: w.be() ** 2 / (2 * w.posterior()[1] * w.al() * (1 - w.ab())),
        lambda w: w.be() / (2 * w.al() * (1 - w.ab(-1))),
    ),
    (
        r"\frac{1}{2\tilde\beta_t} \|\tilde\mu_t(x_t, x_0) - \mu_\theta(x_t, t)\|^2 = \frac12 (\text{SNR}(t-1) - \text{SNR}(t)) \|x_0 - \hat x_0(x_t, t)\|^2",
        True,
        lambda w: norm2(w.posterior()[0] - mu_theta(w)) / (2 * w.posterior()[1]),
        lambda w: 0.5 * (snr(w, -1) - snr(w)) * norm2(w.x0 - x0_hat(w)),
    ),
    (
        r"\|x_0 - \hat x_0\|^2 = \frac{1-\bar\alpha_t}{\bar\alpha_t} \|\epsilon - \epsilon_\theta(x_t, t)\|^2",
        True,
        lambda w: norm2(w.x0 - x0_hat(w)),
        lambda w: (1 - w.ab()) / w.ab() * norm2(w.eps - w.net()),
    ),
    (
        r"\|x_0 - \hat x_0\|^2 = \frac{\bar\alpha_t}{1-\bar\alpha_t} \|\epsilon - \epsilon_\theta(x_t, t)\|^2",
        False,
        lambda w: norm2(w.x0 - x0_hat(w)),
        lambda w: w.ab() / (1 - w.ab()) * norm2(w.eps - w.net()),
    ),
    (
        r"\mathbb{E}_{q(x_t|x_0)}\left[\|x_t - \sqrt{\bar\alpha_t}x_0\|^2\right] = (1-\bar\alpha_t)\, d",
        True,
        lambda w: expect(lambda x, i: (x - sq(w.ab()) * w.x0[i]) ** 2, sq(w.ab()) * w.x0, 1 - w.ab()),
        lambda w: (1 - w.ab()) * D,
    ),
    (
        r"\mathbb{E}_{\epsilon\sim\mathcal{N}(0, I)}\left[\|\epsilon\|^2\right] = d",
        True,
        lambda w: expect(lambda x, i: x**2, np.zeros(D), 1),
        lambda w: D,
    ),
    (
        r"\mathbb{E}_{\epsilon\sim\mathcal{N}(0, I)}\left[\|\epsilon\|^2\right] = 1",
        False,
        lambda w: expect(lambda x, i: x**2, np.zeros(D), 1),
        lambda w: 1,
    ),
    (
        r"\mathbb{E}_{q(x_t|x_0)}\left[\|x_t\|^2\right] = \bar\alpha_t \|x_0\|^2 + (1-\bar\alpha_t) d",
        True,
        lambda w: expect(lambda x, i: x**2, sq(w.ab()) * w.x0, 1 - w.ab()),
        lambda w: w.ab() * norm2(w.x0) + (1 - w.ab()) * D,
    ),
]


def agree(left, right):
    return np.allclose(left, right, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("text", "truth", "left", "right"), CASES, ids=[c[0][:70] for c in CASES])
def test_the_truth_here_is_independent_of_the_checker(text, truth, left, right):
    worlds = [World(seed, t) for seed in range(3) for t in (2, 3, 4, 5)]
    found = [agree(left(w), right(w)) for w in worlds]
    assert all(found) == truth
    if not truth:  # a false statement may hold at t = 2 by chance of the notation, hardly ever later
        assert not any(f for f, w in zip(found, worlds, strict=True) if w.t >= 3)


@pytest.mark.parametrize(("text", "truth", "left", "right"), CASES, ids=[c[0][:70] for c in CASES])
def test_the_checker_agrees(text, truth, left, right):
    line = read_statement(text)
    outcome = gaussian.decide(line.terms[0], line.relations[0], line.terms[1])
    assert outcome.kind == ("identity" if truth else "refuted"), outcome.reason
    if not truth:
        assert outcome.where, "a refutation shows the values at which the sides differ"
        assert outcome.left != outcome.right


def rewritten(node, how):
    """The same formula in other words."""
    if how == "reversed" and isinstance(node, tree.Add):
        return tree.Add(tuple(rewritten(t, how) for t in reversed(node.terms)))
    if how == "reversed" and isinstance(node, tree.Mul):
        return tree.Mul(tuple(rewritten(f, how) for f in reversed(node.factors)))
    if isinstance(node, tree.Sym) and not node.labels:
        if how == "beta" and node.name == "beta" and not node.marks:
            return tree.Add((ONE, tree.Neg(replace(node, name="alpha"))))
        if how == "alpha" and node.name == "alpha" and not node.marks:
            return tree.Add((ONE, tree.Neg(replace(node, name="beta"))))
        if how == "bar" and node.name == "alpha" and node.marks == ("bar",) and node.sub == (tree.Index("t", 0),):
            return tree.Mul((replace(node, marks=()), replace(node, sub=(tree.Index("t", -1),))))
    if how == "roots" and isinstance(node, tree.Func) and node.name == "sqrt":
        return tree.Pow(rewritten(node.body, how), tree.Num(Fraction(1, 2)))
    if how == "roots" and isinstance(node, tree.Div):
        return tree.Mul((tree.Pow(rewritten(node.bottom, how), tree.Num(Fraction(-1))), rewritten(node.top, how)))
    return tree.rebuild(node, lambda child: rewritten(child, how))


ONE = tree.Num(Fraction(1))


@pytest.mark.parametrize("how", ["sides", "reversed", "beta", "alpha", "bar", "roots"])
def test_the_verdict_does_not_depend_on_the_wording(how):
    for text, truth, *_ in CASES:
        line = read_statement(text)
        a, b = line.terms
        a, b = (b, a) if how == "sides" else (rewritten(a, how), rewritten(b, how))
        assert gaussian.decide(a, "=", b).kind == ("identity" if truth else "refuted"), (how, text)


def test_sides_of_different_statements_are_told_apart():
    """Any two sides of the statements above, set equal: the checker must agree with the numbers about every such pair."""
    worlds = [World(seed, t) for seed in range(2) for t in (3, 4, 5)]
    sides = []
    for text, _, *functions in CASES:
        for node, f in zip(read_statement(text).terms, functions, strict=True):
            values = [f(w) for w in worlds]
            if not isinstance(values[0], tuple):
                density = isinstance(node, tree.Density | tree.Normal) or isinstance(
                    getattr(node, "top", None), tree.Mul | tree.Density
                )
                sides.append((node, values, (np.ndim(values[0]), density)))
    pairs = [(a, b) for i, a in enumerate(sides) for b in sides[:i]]
    equal = [(a, b) for a, b in pairs if a[2] == b[2] and all(agree(x, y) for x, y in zip(a[1], b[1], strict=True))]
    other = [(a, b) for a, b in pairs if a[2] == b[2] and not any(agree(x, y) for x, y in zip(a[1], b[1], strict=True))]
    assert len(equal) > 200
    for a, b in equal[::5]:
        assert gaussian.decide(a[0], "=", b[0]).kind == "identity", (a[0], b[0])
    for a, b in other[:: len(other) // 80]:
        assert gaussian.decide(a[0], "=", b[0]).kind in {"refuted", "undecided"}, (a[0], b[0])
