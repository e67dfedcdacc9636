r"""A second set of statements, in the spellings of lectures and papers: their truth is added up by hand in small worlds (by_hand.py)
or computed with numbers (the World of test_gaussian.py), with nothing of the checker in it.

A line of the tables: kind, LaTeX, and both sides in Python. In a discrete world d(s, v) is a density at the assignment v, L its
logarithm, E, KL and S average, compare and sum. An inequality is a bound if it holds in every world, and strictly in one.
"""

import math

import numpy as np
import pytest
from by_hand import Hand, X, Z
from test_gaussian import World, agree, gradient, kl, logpdf, mu_theta, norm2, score, snr, sq, velocity, x0_hat

from course.equations import judge

ELBO = 'E("q(z|x)", lambda v: L("p(x z)", v) - L("q(z|x)", v), v)'
ELBO_T = 'E(f"q({Z(1, T)}|x)", lambda v: L(f"p(x {Z(1, T)})", v) - L(f"q({Z(1, T)}|x)", v), v)'
VLB = 'E(f"q({X(1, T)}|x0)", lambda v: L(f"q({X(1, T)}|x0)", v) - L(f"p({X(0, T)})", v), v)'
KLP, KLQ = 'KL("q(z|x)", "p(z|x)", v)', 'KL("q(z|x)", "p(z)", v)'
HQ = '-E("q(z|x)", lambda v: L("q(z|x)", v), v)'
REC = 'E("q(z|x)", lambda v: L("p(x|z)", v), v)'
LP, LQ = r"\log p(x)", 'L("p(x)", v)'
MI = 'E("p(x z)", lambda v: L("p(x z)", v) - L("p(x)", v) - L("p(z)", v), v)'

VAE = [
    ("identity", r"\log p(x) - \mathrm{ELBO} = \mathrm{KL}(q(z|x) \| p(z|x))", f"{LQ} - {ELBO}", KLP, "x"),
    ("bound", r"\log p(x) \geq \mathcal{L}(x) \triangleq \mathbb{E}_{q(z|x)}[\log p(x,z) - \log q(z|x)]", LQ, ELBO, "x"),
    ("refuted", r"\log p(x) \leq \mathcal{L}(x) \triangleq \mathbb{E}_{q(z|x)}[\log p(x,z) - \log q(z|x)]", LQ, ELBO, "x"),
    ("identity", r"\text{ELBO} = \mathbb{E}_{q(z|x)}[\log p(x,z)] + \mathbb{H}[q(z|x)]", ELBO, f'E("q(z|x)", lambda v: L("p(x z)", v), v) + {HQ}', "x"),
    ("refuted", r"\text{ELBO} = \mathbb{E}_{q(z|x)}[\log p(x,z)] - H(q(z|x))", ELBO, f'E("q(z|x)", lambda v: L("p(x z)", v), v) - ({HQ})', "x"),
    ("identity", r"H(q(z|x)) = -\int q(z|x) \log q(z|x)\,dz", HQ, '-S("z", lambda v: d("q(z|x)", v) * L("q(z|x)", v), v)', "x"),
    ("refuted", r"H(q(z|x)) = \int q(z|x) \log q(z|x)\,dz", HQ, 'S("z", lambda v: d("q(z|x)", v) * L("q(z|x)", v), v)', "x"),
    ("identity", r"H(q(z|x), p(z)) = H(q(z|x)) + D_{KL}(q(z|x)\|p(z))", '-E("q(z|x)", lambda v: L("p(z)", v), v)', f"{HQ} + {KLQ}", "x"),
    ("refuted", r"H(q(z|x), p(z)) = H(q(z|x)) - D_{KL}(q(z|x)\|p(z))", '-E("q(z|x)", lambda v: L("p(z)", v), v)', f"{HQ} - {KLQ}", "x"),
    ("bound", r"-\int q(z|x) \log p(z)\,dz \ge H(q(z|x))", '-E("q(z|x)", lambda v: L("p(z)", v), v)', HQ, "x"),
    ("identity", r"\text{NELBO} = -\mathcal{L}_{\text{ELBO}}", f"-({ELBO})", f"-({ELBO})", "x"),
    ("identity", r"\mathcal{L}_{\text{ELBO}} = \mathbb{E}_{q(z|x)}[\log p(x|z)] - \mathrm{KL}(q(z|x)\|p(z))", ELBO, f"{REC} - {KLQ}", "x"),
    ("identity", r"\log p(x) = \underbrace{\mathbb{E}_{q(z|x)}[\log p(x|z)]}_{\text{reconstruction}} - D_{KL}(q(z|x)\|p(z)) + \underbrace{D_{KL}(q(z|x)\|p(z|x))}_{\ge 0}", LQ, f"{REC} - {KLQ} + {KLP}", "x"),
    ("refuted", r"-\log p(x) = -\mathbb{E}_{q(z|x)}[\log p(x|z)] + D_{KL}(q(z|x)\|p(z)) + D_{KL}(q(z|x)\|p(z|x))", f"-{LQ}", f"-({REC}) + {KLQ} + {KLP}", "x"),
    ("bound", r"p(x) \ge e^{\mathrm{ELBO}}", 'd("p(x)", v)', f"math.exp({ELBO})", "x"),
    ("refuted", r"p(x) = e^{\mathrm{ELBO}}", 'd("p(x)", v)', f"math.exp({ELBO})", "x"),
    ("identity", r"p(x) = \exp\left(\mathrm{ELBO} + \mathrm{KL}(q(z|x)\|p(z|x))\right)", 'd("p(x)", v)', f"math.exp({ELBO} + {KLP})", "x"),
    ("bound", r"\mathbb{E}_{q(z|x)}\left[\frac{q(z|x)}{p(z|x)}\right] \ge 1", 'E("q(z|x)", lambda v: d("q(z|x)", v) / d("p(z|x)", v), v)', "1", "x"),
    ("refuted", r"\mathbb{E}_{q(z|x)}\left[\frac{q(z|x)}{p(z|x)}\right] = 1", 'E("q(z|x)", lambda v: d("q(z|x)", v) / d("p(z|x)", v), v)', "1", "x"),
    ("identity", r"\mathbb{E}_{q(z|x)}\left[\frac{p(z|x)}{q(z|x)}\right] = 1", 'E("q(z|x)", lambda v: d("p(z|x)", v) / d("q(z|x)", v), v)', "1", "x"),
    ("bound", r"\mathbb{E}_{q(z|x)}\left[\left(\frac{p(z|x)}{q(z|x)}\right)^2\right] \ge 1", 'E("q(z|x)", lambda v: (d("p(z|x)", v) / d("q(z|x)", v)) ** 2, v)', "1", "x"),
    ("bound", r"p(x) \le \mathbb{E}_{p(z|x)}[p(x|z)]", 'd("p(x)", v)', 'E("p(z|x)", lambda v: d("p(x|z)", v), v)', "x"),
    ("refuted", r"p(x) = \mathbb{E}_{p(z|x)}[p(x|z)]", 'd("p(x)", v)', 'E("p(z|x)", lambda v: d("p(x|z)", v), v)', "x"),
    ("identity", r"\frac{1}{p(x)} = \mathbb{E}_{p(z|x)}\left[\frac{1}{p(x|z)}\right]", '1 / d("p(x)", v)', 'E("p(z|x)", lambda v: 1 / d("p(x|z)", v), v)', "x"),
    ("bound", r"\mathbb{E}_{p(x)}[\mathrm{KL}(q(z|x) \| p(z|x))] \ge 0", f'E("p(x)", lambda v: {KLP}, v)', "0", ""),
    ("bound", r"\mathbb{E}_{p(x)}[\mathrm{KL}(q(z|x) \| p(z))] \ge 0", f'E("p(x)", lambda v: {KLQ}, v)', "0", ""),
    ("refuted", r"\mathbb{E}_{p(x)}[\mathrm{KL}(q(z|x) \| p(z))] \le 0", f'E("p(x)", lambda v: {KLQ}, v)', "0", ""),
    ("bound", r"\mathbb{E}_{p(x)}[\log p(x)] \ge \mathbb{E}_{p(x)}\mathbb{E}_{q(z|x)}\left[\log\frac{p(x,z)}{q(z|x)}\right]", f'E("p(x)", lambda v: {LQ}, v)', f'E("p(x)", lambda v: {ELBO}, v)', ""),
    ("bound", r"\mathbb{E}_{p(x)}\mathbb{E}_{p(z)}[\log p(x|z)] \le \mathbb{E}_{p(x,z)}[\log p(x|z)]", 'E("p(x)", lambda v: E("p(z)", lambda v: L("p(x|z)", v), v), v)', 'E("p(x z)", lambda v: L("p(x|z)", v), v)', ""),
    ("refuted", r"\mathbb{E}_{p(x)}\mathbb{E}_{p(z)}[\log p(x|z)] = \mathbb{E}_{p(x,z)}[\log p(x|z)]", 'E("p(x)", lambda v: E("p(z)", lambda v: L("p(x|z)", v), v), v)', 'E("p(x z)", lambda v: L("p(x|z)", v), v)', ""),
    ("identity", r"\mathbb{E}_{p(x)}[\mathrm{KL}(q(z|x) \| p(z|x))] = \mathrm{KL}(p(x)q(z|x) \| p(x,z))", f'E("p(x)", lambda v: {KLP}, v)', 'S("x z", lambda v: d("p(x)", v) * d("q(z|x)", v) * (L("p(x)", v) + L("q(z|x)", v) - L("p(x z)", v)), v)', ""),
    ("identity", r"I_p(x;z) = H_p(z) - H_p(z|x)", MI, '-E("p(z)", lambda v: L("p(z)", v), v) + E("p(x z)", lambda v: L("p(z|x)", v), v)', ""),
    ("refuted", r"I_p(x;z) = H_p(z) - H_p(x|z)", MI, '-E("p(z)", lambda v: L("p(z)", v), v) + E("p(x z)", lambda v: L("p(x|z)", v), v)', ""),
    ("identity", r"I_p(x;z) = D_{KL}\left(p(x,z) \,\|\, p(x)\, p(z)\right)", MI, 'S("x z", lambda v: d("p(x z)", v) * (L("p(x z)", v) - L("p(x)", v) - L("p(z)", v)), v)', ""),
    ("bound", r"H_p(x,z) \le H_p(x) + H_p(z)", '-E("p(x z)", lambda v: L("p(x z)", v), v)', '-E("p(x)", lambda v: L("p(x)", v), v) - E("p(z)", lambda v: L("p(z)", v), v)', ""),
    ("identity", r"\mathbb{E}_q[\log p(x|z) \mid x] = \mathbb{E}_{q(z|x)}[\log p(x|z)]", REC, REC, "x"),
    ("refuted", r"\mathbb{E}_p[\log p(x|z) \mid x] = \mathbb{E}_{q(z|x)}[\log p(x|z)]", 'E("p(z|x)", lambda v: L("p(x|z)", v), v)', REC, "x"),
    ("identity", r"p(z|x) \propto p(x|z)\, p(z)", 'd("p(z|x)", v) / d("p(x|z)", v) / d("p(z)", v)', '1 / d("p(x)", v)', "x z"),
    ("identity", r"p(x,z) = p(x|z)p(z) \iff \log p(x,z) = \log p(x|z) + \log p(z)", 'L("p(x z)", v)', 'L("p(x|z)", v) + L("p(z)", v)', "x z"),
    ("refuted", r"\log p(z|x) = \log p(x|z) - \log p(z) + \log p(x)", 'L("p(z|x)", v)', 'L("p(x|z)", v) - L("p(z)", v) + L("p(x)", v)', "x z"),
    ("refuted", r"\log p(x) = \log p(z) \sum_{z} \log p(x|z)", LQ, 'L("p(z)", v) * S("z", lambda v: L("p(x|z)", v), v)', "x z"),
]  # fmt: skip

HVAE = [
    ("identity", r"\log p(x,z_{1:T}) = \log p(z_T) + \sum_{t=2}^{T} \log p(z_{t-1}|z_t) + \log p(x|z_1)", 'L(f"p(x {Z(1, T)})", v)', 'L(f"p(z{T})", v) + sum(L(f"p(z{s-1}|z{s})", v) for s in range(2, T + 1)) + L("p(x|z1)", v)'),
    ("refuted", r"\log p(x,z_{1:T}) = \log p(z_T) \sum_{t=2}^{T} \log p(z_{t-1}|z_t) + \log p(x|z_1)", 'L(f"p(x {Z(1, T)})", v)', 'L(f"p(z{T})", v) * sum(L(f"p(z{s-1}|z{s})", v) for s in range(2, T + 1)) + L("p(x|z1)", v)'),
    ("identity", r"p(z_1, \ldots, z_T) = p(z_T)\prod_{t=1}^{T-1} p(z_t|z_{t+1})", 'd(f"p({Z(1, T)})", v)', 'd(f"p(z{T})", v) * math.prod(d(f"p(z{s}|z{s+1})", v) for s in range(1, T))'),
    ("refuted", r"p(z_1, \ldots, z_T) = p(z_1)\prod_{t=1}^{T-1} p(z_t|z_{t+1})", 'd(f"p({Z(1, T)})", v)', 'd("p(z1)", v) * math.prod(d(f"p(z{s}|z{s+1})", v) for s in range(1, T))'),
    ("identity", r"p(z_{1:T}|x) = p(z_1|x) \prod_{t=2}^T p(z_t|z_{t-1})", 'd(f"p({Z(1, T)}|x)", v)', 'd("p(z1|x)", v) * math.prod(d(f"p(z{s}|z{s-1})", v) for s in range(2, T + 1))'),
    ("refuted", r"p(z_{1:T}|x) = p(z_T|x) \prod_{t=2}^T p(z_{t-1}|z_t)", 'd(f"p({Z(1, T)}|x)", v)', 'd(f"p(z{T}|x)", v) * math.prod(d(f"p(z{s-1}|z{s})", v) for s in range(2, T + 1))'),
    ("identity", r"p(z_{1:T}|x) = p(z_T|x) \prod_{t=2}^T p(z_{t-1}|z_t, x)", 'd(f"p({Z(1, T)}|x)", v)', 'd(f"p(z{T}|x)", v) * math.prod(d(f"p(z{s-1}|z{s} x)", v) for s in range(2, T + 1))'),
    ("identity", r"\text{ELBO} = \mathbb{E}_{q(z_{1:T}|x)}\left[\log p(x|z_1) + \sum_{t=2}^T \log \frac{p(z_{t-1}|z_t)}{q(z_t|z_{t-1})} + \log \frac{p(z_T)}{q(z_1|x)}\right]", ELBO_T, 'E(f"q({Z(1, T)}|x)", lambda v: L("p(x|z1)", v) + sum(L(f"p(z{s-1}|z{s})", v) - L(f"q(z{s}|z{s-1})", v) for s in range(2, T + 1)) + L(f"p(z{T})", v) - L("q(z1|x)", v), v)'),
    ("refuted", r"\text{ELBO} = \mathbb{E}_{q(z_{1:T}|x)}\left[\log p(x|z_1) + \sum_{t=2}^T \log \frac{p(z_{t-1}|z_t)}{q(z_{t-1}|z_t)} + \log \frac{p(z_T)}{q(z_1|x)}\right]", ELBO_T, 'E(f"q({Z(1, T)}|x)", lambda v: L("p(x|z1)", v) + sum(L(f"p(z{s-1}|z{s})", v) - L(f"q(z{s-1}|z{s})", v) for s in range(2, T + 1)) + L(f"p(z{T})", v) - L("q(z1|x)", v), v)'),
    ("identity", r"\mathrm{KL}(q(z_{1:T}|x)\|p(z_{1:T}|x)) = \mathrm{KL}(q(z_1|x) \| p(z_1|x)) + \sum_{t=2}^T \mathbb{E}_{q(z_{t-1}|x)}[\mathrm{KL}(q(z_t|z_{t-1})\|p(z_t|z_{t-1}))]", 'KL(f"q({Z(1, T)}|x)", f"p({Z(1, T)}|x)", v)', 'KL("q(z1|x)", "p(z1|x)", v) + sum(E(f"q(z{s-1}|x)", lambda v: KL(f"q(z{s}|z{s-1})", f"p(z{s}|z{s-1})", v), v) for s in range(2, T + 1))'),
    ("identity", r"\prod_{t=2}^T \frac{q(z_{t-1}|x)}{q(z_t|x)} = \frac{q(z_1|x)}{q(z_T|x)}", 'math.prod(d(f"q(z{s-1}|x)", v) / d(f"q(z{s}|x)", v) for s in range(2, T + 1))', 'd("q(z1|x)", v) / d(f"q(z{T}|x)", v)'),
    ("identity", r"\prod_{t=2}^T q(z_{t-1}|x) / q(z_t|x) = q(z_1|x) / q(z_T|x)", 'math.prod(d(f"q(z{s-1}|x)", v) / d(f"q(z{s}|x)", v) for s in range(2, T + 1))', 'd("q(z1|x)", v) / d(f"q(z{T}|x)", v)'),
    ("refuted", r"\prod_{t=2}^T q(z_{t-1}|x) / q(z_1|x) = q(z_1|x) / q(z_T|x)", 'math.prod(d(f"q(z{s-1}|x)", v) for s in range(2, T + 1)) / d("q(z1|x)", v)', 'd("q(z1|x)", v) / d(f"q(z{T}|x)", v)'),
    ("bound", r"I_p(x;z_T) \le I_p(x;z_1)", 'E(f"p(x z{T})", lambda v: L(f"p(x|z{T})", v) - L("p(x)", v), v)', 'E("p(x z1)", lambda v: L("p(x|z1)", v) - L("p(x)", v), v)'),
    ("refuted", r"I_p(x;z_T) = I_p(x;z_1)", 'E(f"p(x z{T})", lambda v: L(f"p(x|z{T})", v) - L("p(x)", v), v)', 'E("p(x z1)", lambda v: L("p(x|z1)", v) - L("p(x)", v), v)'),
    ("bound", r"\mathrm{KL}(q(z_{1:T}|x)\|p(z_{1:T})) \ge \mathrm{KL}(q(z_T|x)\|p(z_T))", 'KL(f"q({Z(1, T)}|x)", f"p({Z(1, T)})", v)', 'KL(f"q(z{T}|x)", f"p(z{T})", v)'),
    ("refuted", r"p(z_1|x, z_2) = p(z_1|z_2)", 'd("p(z1|x z2)", v)', 'd("p(z1|z2)", v)'),
]  # fmt: skip

CHAIN = [
    ("identity", r"p(z_{1:T}) = p(z_T) \prod_{t=1}^{T-1} p(z_t|z_{t+1:T})", 'd(f"p({Z(1, T)})", v)', 'd(f"p(z{T})", v) * math.prod(d(f"p(z{s}|{Z(s + 1, T)})", v) for s in range(1, T))'),
    ("refuted", r"p(z_{1:T}) = p(z_T) \prod_{t=1}^{T-1} p(z_t|z_{t+1})", 'd(f"p({Z(1, T)})", v)', 'd(f"p(z{T})", v) * math.prod(d(f"p(z{s}|z{s + 1})", v) for s in range(1, T))'),
    ("refuted", r"p(x|z_{1:T}) = p(x|z_1)", 'd(f"p(x|{Z(1, T)})", v)', 'd("p(x|z1)", v)'),
    ("identity", r"\text{ELBO} = \log p(x) - \mathrm{KL}(q(z_{1:T}|x) \| p(z_{1:T}|x))", ELBO_T, 'L("p(x)", v) - KL(f"q({Z(1, T)}|x)", f"p({Z(1, T)}|x)", v)'),
    ("identity", r"\mathrm{KL}(q(z_{1:T}|x) \| p(z_{1:T}|x)) = \sum_{t=1}^T \mathbb{E}_{q(z_{1:t-1}|x)}[\mathrm{KL}(q(z_t|z_{1:t-1},x) \| p(z_t|z_{1:t-1},x))]", 'KL(f"q({Z(1, T)}|x)", f"p({Z(1, T)}|x)", v)', 'sum(E(f"q({Z(1, s - 1)}|x)", lambda v: KL(f"q(z{s}|{Z(1, s - 1)} x)", f"p(z{s}|{Z(1, s - 1)} x)", v), v) if s > 1 else KL("q(z1|x)", "p(z1|x)", v) for s in range(1, T + 1))'),
    ("refuted", r"\mathrm{KL}(q(z_{1:T}|x) \| p(z_{1:T}|x)) = \sum_{t=1}^T \mathbb{E}_{q(z_{1:t-1}|x)}[\mathrm{KL}(q(z_t|x) \| p(z_t|x))]", 'KL(f"q({Z(1, T)}|x)", f"p({Z(1, T)}|x)", v)', 'sum(KL(f"q(z{s}|x)", f"p(z{s}|x)", v) for s in range(1, T + 1))'),
    ("bound", r"p(x) \ge e^{\mathrm{ELBO}}", 'd("p(x)", v)', f"math.exp({ELBO_T})"),
]  # fmt: skip

DIFFUSION = [
    ("identity", r"q(x_{1:T}|x_0) = q(x_T|x_0) \prod_{t=2}^T q(x_{t-1}|x_t,x_0)", 'd(f"q({X(1, T)}|x0)", v)', 'd(f"q(x{T}|x0)", v) * math.prod(d(f"q(x{s-1}|x{s} x0)", v) for s in range(2, T + 1))'),
    ("refuted", r"q(x_{1:T}|x_0) = q(x_T|x_0) \prod_{t=2}^T q(x_{t-1}|x_t)", 'd(f"q({X(1, T)}|x0)", v)', 'd(f"q(x{T}|x0)", v) * math.prod(d(f"q(x{s-1}|x{s})", v) for s in range(2, T + 1))'),
    ("identity", r"q(x_{0:T}) = q(x_T)\prod_{t=1}^T q(x_{t-1}|x_t)", 'd(f"q({X(0, T)})", v)', 'd(f"q(x{T})", v) * math.prod(d(f"q(x{s-1}|x{s})", v) for s in range(1, T + 1))'),
    ("identity", r"q(x_0|x_T) \propto q(x_T|x_0)\, q(x_0)", 'd(f"q(x0|x{T})", v)', 'd(f"q(x{T}|x0)", v) * d("q(x0)", v) / d(f"q(x{T})", v)'),
    ("identity", r"\mathbb{E}_q\left[L_T + \sum_{t=2}^{T} L_{t-1} + L_0\right] = \mathbb{E}_{q(x_{1:T}|x_0)}\left[\log\frac{q(x_{1:T}|x_0)}{p(x_{0:T})}\right]", 'KL(f"q(x{T}|x0)", f"p(x{T})", v) + sum(E(f"q(x{s}|x0)", lambda v: KL(f"q(x{s-1}|x{s} x0)", f"p(x{s-1}|x{s})", v), v) for s in range(2, T + 1)) - E("q(x1|x0)", lambda v: L("p(x0|x1)", v), v)', VLB),
    ("refuted", r"\mathbb{E}_{q(x_{1:T}|x_0)}\left[\log\frac{q(x_{1:T}|x_0)}{p(x_{0:T})}\right] = \mathrm{KL}(q(x_T|x_0)\|p(x_T)) + \sum_{t=2}^T \mathbb{E}_{q(x_{t-1}|x_0)}\left[\mathrm{KL}(q(x_{t-1}|x_t,x_0)\|p(x_{t-1}|x_t))\right] - \mathbb{E}_{q(x_1|x_0)}[\log p(x_0|x_1)]", VLB, 'KL(f"q(x{T}|x0)", f"p(x{T})", v) + sum(KL(f"q(x{s-1}|x{s} x0)", f"p(x{s-1}|x{s})", v) for s in range(2, T + 1)) - E("q(x1|x0)", lambda v: L("p(x0|x1)", v), v)'),
    ("bound", r"\mathbb{E}_{q(x_0)}[-\log p(x_0)] \ge H_q(x_0)", '-E("q(x0)", lambda v: L("p(x0)", v), v)', '-E("q(x0)", lambda v: L("q(x0)", v), v)'),
    ("identity", r"\mathbb{E}_{q(x_0)}[-\log p(x_0)] = H_q(x_0) + \mathrm{KL}(q(x_0)\|p(x_0))", '-E("q(x0)", lambda v: L("p(x0)", v), v)', '-E("q(x0)", lambda v: L("q(x0)", v), v) + KL("q(x0)", "p(x0)", v)'),
    ("identity", r"\mathbb{E}_q[\log p(x_0|x_1)|x_0] = \mathbb{E}_{q(x_1|x_0)}[\log p(x_0|x_1)]", 'E("q(x1|x0)", lambda v: L("p(x0|x1)", v), v)', 'S("x1", lambda v: d("q(x1|x0)", v) * L("p(x0|x1)", v), v)'),
    ("identity", r"\mathrm{KL}(q(x_{0:T}) \| p(x_{0:T})) = \mathrm{KL}(q(x_T)\|p(x_T)) + \sum_{t=1}^T \mathbb{E}_{q(x_t)}[\mathrm{KL}(q(x_{t-1}|x_t)\|p(x_{t-1}|x_t))]", 'KL(f"q({X(0, T)})", f"p({X(0, T)})", v)', 'KL(f"q(x{T})", f"p(x{T})", v) + sum(E(f"q(x{s})", lambda v: KL(f"q(x{s-1}|x{s})", f"p(x{s-1}|x{s})", v), v) for s in range(1, T + 1))'),
    ("identity", r"q(x_1) = \int q(x_1|x_0) q(x_0)\, dx_0", 'd("q(x1)", v)', 'S("x0", lambda v: d("q(x1|x0)", v) * d("q(x0)", v), v)'),
    ("bound", r"H_q(x_T) \ge H_q(x_T|x_0)", '-E(f"q(x{T})", lambda v: L(f"q(x{T})", v), v)', '-E(f"q(x0 x{T})", lambda v: L(f"q(x{T}|x0)", v), v)'),
    # the "consistency" form of the bound, with the wrong law for the middle variable, as a well-known tutorial prints it
    ("refuted", r"\text{ELBO} = \mathbb{E}_{q(x_1|x_0)}[\log p(x_0|x_1)] - \mathbb{E}_{q(x_{T-1}|x_0)}[\mathrm{KL}(q(x_T|x_{T-1})\|p(x_T))] - \sum_{t=1}^{T-1}\mathbb{E}_{q(x_{t-1},x_{t+1}|x_0)}[\mathrm{KL}(q(x_t|x_{t-1})\|p(x_t|x_{t+1}))]", f"-({VLB})", 'E("q(x1|x0)", lambda v: L("p(x0|x1)", v), v) - E(f"q(x{T-1}|x0)", lambda v: KL(f"q(x{T}|x{T-1})", f"p(x{T})", v), v) - sum(E(f"q(x{s-1} x{s+1}|x0)" if s > 1 else f"q(x{s+1}|x0)", lambda v: KL(f"q(x{s}|x{s-1})", f"p(x{s}|x{s+1})", v), v) for s in range(1, T))'),
    ("refuted", r"\sum_{t=2}^T \log q(x_t|x_0) - \log q(x_{t-1}|x_0) = \log q(x_T|x_0)", 'sum(L(f"q(x{s}|x0)", v) for s in range(2, T + 1)) - L("q(x1|x0)", v)', 'L(f"q(x{T}|x0)", v)'),
    ("identity", r"\sum_{t=2}^T \left(\log q(x_t|x_0) - \log q(x_{t-1}|x_0)\right) = \log q(x_T|x_0) - \log q(x_1|x_0)", 'sum(L(f"q(x{s}|x0)", v) - L(f"q(x{s-1}|x0)", v) for s in range(2, T + 1))', 'L(f"q(x{T}|x0)", v) - L("q(x1|x0)", v)'),
]  # fmt: skip

DISCRETE = [("vae", *row) for row in VAE]
for _setting, _rows in (("hvae", HVAE), ("chain", CHAIN), ("diffusion", DIFFUSION)):
    DISCRETE += [(_setting, *row, "") for row in _rows]


def sides(setting, left, right, free):
    """Both sides in several worlds, at every value of the free variables (at all values of all variables where none are named)."""
    for T in (1,) if setting == "vae" else (2, 3):
        for seed in range(3):
            w = Hand(setting, T, seed, peaked=seed == 2)
            names = {
                "T": T, "Z": Z, "X": X, "math": math, "sum": sum, "range": range,
                "d": w, "L": lambda s, v, w=w: math.log(w(s, v)), "E": w.E, "KL": w.KL, "S": w.sum,
            }  # fmt: skip
            a, b = (eval(f"lambda v: {side}", names) for side in (left, right))
            for v in w.all(free if setting == "vae" else " ".join(w.names), {}):
                yield a(v), b(v)


def truth(latex, pairs):
    pairs = list(pairs)
    close = [math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-11) for a, b in pairs]
    up, down = (any(r in latex for r in words) for words in ((r"\ge ", r"\geq "), (r"\le ", r"\leq ")))
    if not up and not down:
        return "identity" if all(close) else "refuted"
    holds = all(c or ((a > b) if up else (a < b)) for c, (a, b) in zip(close, pairs, strict=True))
    return "refuted" if not holds else "identity" if all(close) else "bound"


@pytest.mark.parametrize(("setting", "kind", "latex", "left", "right", "free"), DISCRETE, ids=[r[2][:60] for r in DISCRETE])
def test_discrete(setting, kind, latex, left, right, free):
    pairs = list(sides(setting, left, right, free))
    if r"\propto" in latex and setting == "vae":  # the ratio of the sides was written by hand, as a function of x only
        assert all(math.isclose(a, b) for a, b in pairs)
    else:
        assert truth(latex.split(r"\triangleq")[0].replace(r"\ge 0}", ""), pairs) == kind
    found = judge(latex, setting)
    assert found.kind == kind, str(found)


PROPORTIONAL = [
    ("identity", r"p(z|x) \propto p(x,z)", "vae"),
    ("refuted", r"p(z|x) \propto p(x|z)", "vae"),
    ("refuted", r"p(x|z) \propto p(z|x)\, p(z)", "vae"),
    ("identity", r"q(x_{t-1}|x_t,x_0) \propto q(x_t|x_{t-1})\, q(x_{t-1}|x_0)", "diffusion"),
    ("refuted", r"q(x_{t-1}|x_t,x_0) \propto q(x_t|x_{t-1})\, q(x_{t-1})", "diffusion"),
    ("refuted", r"q(x_{t-1}|x_t) \propto q(x_t|x_{t-1})", "diffusion"),
]


@pytest.mark.parametrize(("kind", "latex", "setting"), PROPORTIONAL)
def test_proportional(kind, latex, setting):
    """A density is proportional to what it is a normalised multiple of: Bayes' rule up to the evidence, and nothing else."""
    found = judge(latex, setting)
    assert found.kind == kind, str(found)
    assert (found.counterexample is not None) == (kind == "refuted")


# ---------------------------------------------------------------------------------------------------- Gaussian closed forms

# (true?, LaTeX, left, right): numbers, vectors, log-densities; a pair is (mean, variance) of a law. w.ab() is \bar\alpha_t, ...
tweedie = lambda w: (w.xt + (1 - w.ab()) * w.s0) / sq(w.ab())  # noqa: E731  with w.s0 the score of q(x_t), any vector
posterior_gap = lambda w: norm2(w.posterior()[0] - mu_theta(w))  # noqa: E731
v_net = lambda w: sq(w.ab()) * w.net() - sq(1 - w.ab()) * x0_hat(w)  # noqa: E731
s_net = lambda w: -w.net() / sq(1 - w.ab())  # noqa: E731
GAUSSIAN = [
    (True, r"\mathbb{E}[x_t \mid x_0] = \sqrt{\bar\alpha_t}\, x_0", lambda w: sq(w.ab()) * w.x0, lambda w: sq(w.ab()) * w.x0),
    (False, r"\mathbb{E}[x_t \mid x_0] = \bar\alpha_t\, x_0", lambda w: sq(w.ab()) * w.x0, lambda w: w.ab() * w.x0),
    (True, r"E[x_{t-1}|x_t,x_0] = \tilde\mu_t(x_t,x_0)", lambda w: w.posterior()[0], lambda w: w.posterior()[0]),
    (False, r"E[x_{t-1}|x_0] = \tilde\mu_t(x_t,x_0)", lambda w: sq(w.ab(-1)) * w.x0, lambda w: w.posterior()[0]),
    (True, r"\operatorname{Var}[x_t|x_0] = 1-\bar\alpha_t", lambda w: sum(w.beta[s] * w.ab() / w.bar(s) for s in range(1, w.t + 1)), lambda w: 1 - w.ab()),
    (False, r"\mathrm{Var}(x_t|x_0) = \sqrt{1-\bar\alpha_t}\, I", lambda w: 1 - w.ab(), lambda w: sq(1 - w.ab())),
    (True, r"\mathrm{Var}(x_{t-1}|x_t,x_0) = \tilde\beta_t I", lambda w: w.posterior()[1], lambda w: w.be() * (1 - w.ab(-1)) / (1 - w.ab())),
    (False, r"\mathrm{Var}(x_{t-1}|x_t,x_0) = \beta_t I", lambda w: w.posterior()[1], lambda w: w.be()),
    (True, r"\mathrm{Cov}[x_t, x_{t-1} | x_0] = \sqrt{\alpha_t}(1-\bar\alpha_{t-1}) I", lambda w: sq(w.al()) * (1 - w.ab(-1)), lambda w: sq(w.al()) * (1 - w.ab(-1))),
    (False, r"\mathrm{Cov}[x_t, x_{t-1} | x_0] = \alpha_t(1-\bar\alpha_{t-1}) I", lambda w: sq(w.al()) * (1 - w.ab(-1)), lambda w: w.al() * (1 - w.ab(-1))),
    (True, r"\mathbb{E}[\|x_t\|^2 \mid x_0] = \bar\alpha_t \|x_0\|^2 + (1-\bar\alpha_t) d", lambda w: norm2(sq(w.ab()) * w.x0) + 3 * (1 - w.ab()), lambda w: w.ab() * norm2(w.x0) + (1 - w.ab()) * 3),
    (True, r"\mathbb{E}[x_0|x_t] = \frac{1}{\sqrt{\bar\alpha_t}}\left(x_t + (1-\bar\alpha_t)\nabla_{x_t}\log q(x_t)\right)", tweedie, tweedie),
    (False, r"\mathbb{E}[x_0|x_t] = \frac{1}{\sqrt{\bar\alpha_t}}\left(x_t - (1-\bar\alpha_t)\nabla_{x_t}\log q(x_t)\right)", tweedie, lambda w: (w.xt - (1 - w.ab()) * w.s0) / sq(w.ab())),
    (True, r"\mathbb{E}[\epsilon|x_t] = -\sqrt{1-\bar\alpha_t}\nabla_{x_t}\log q(x_t)", lambda w: (w.xt - sq(w.ab()) * tweedie(w)) / sq(1 - w.ab()), lambda w: -sq(1 - w.ab()) * w.s0),
    (False, r"\mathbb{E}[\epsilon|x_t] = -(1-\bar\alpha_t)\nabla_{x_t}\log q(x_t)", lambda w: -sq(1 - w.ab()) * w.s0, lambda w: -(1 - w.ab()) * w.s0),
    (True, r"\nabla_{x_t}\log q(x_t) = \mathbb{E}_{q(x_0|x_t)}[\nabla_{x_t}\log q(x_t|x_0)]", lambda w: w.s0, lambda w: -(w.xt - sq(w.ab()) * tweedie(w)) / (1 - w.ab())),
    (False, r"\mathbb{E}_{q(x_0|x_t)}[x_0] = x_0", tweedie, lambda w: w.x0),
    (True, r"\nabla_{x_t} \log p(x_t|y) = \nabla_{x_t}\log p(x_t) + \nabla_{x_t}\log p(y|x_t)", lambda w: w.mu1, lambda w: w.s0 + (w.mu1 - w.s0)),
    (False, r"\nabla_{x_t} \log p(x_t|y) = \nabla_{x_t}\log p(x_t) - \nabla_{x_t}\log p(y|x_t)", lambda w: w.mu1, lambda w: w.s0 - (w.mu1 - w.s0)),
    (True, r"\nabla_x \log p(y|x) = \nabla_x \log p(x|y) - \nabla_x \log p(x)", lambda w: w.mu1 - w.s0, lambda w: w.mu1 - w.s0),
    (True, r"\nabla_{x_t} \log p(x_t) + w\,\nabla_{x_t} \log p(y|x_t) = (1-w)\nabla_{x_t} \log p(x_t) + w \nabla_{x_t} \log p(x_t|y)", lambda w: w.s0 + w.sg * (w.mu1 - w.s0), lambda w: (1 - w.sg) * w.s0 + w.sg * w.mu1),
    (False, r"\nabla_{x_t} \log p(x_t) + w\,\nabla_{x_t} \log p(y|x_t) = (1+w)\nabla_{x_t} \log p(x_t|y) - w \nabla_{x_t} \log p(x_t)", lambda w: w.s0 + w.sg * (w.mu1 - w.s0), lambda w: (1 + w.sg) * w.mu1 - w.sg * w.s0),
    (True, r"(1+w)\epsilon_\theta(x_t,t,c) - w\,\epsilon_\theta(x_t,t,\varnothing) = \epsilon_\theta(x_t,t,c) + w(\epsilon_\theta(x_t,t,c) - \epsilon_\theta(x_t,t,\emptyset))", lambda w: (1 + w.sg) * w.mu1 - w.sg * w.mu2, lambda w: w.mu1 + w.sg * (w.mu1 - w.mu2)),
    (False, r"(1+w)\epsilon_\theta(x_t,t,c) - w\,\epsilon_\theta(x_t,t) = \epsilon_\theta(x_t,t) + w(\epsilon_\theta(x_t,t,c) - \epsilon_\theta(x_t,t))", lambda w: (1 + w.sg) * w.mu1 - w.sg * w.mu2, lambda w: w.mu2 + w.sg * (w.mu1 - w.mu2)),
    (True, r"1-\bar\alpha_t = \sum_{s=1}^{t} \beta_s \bar\alpha_t / \bar\alpha_s", lambda w: 1 - w.ab(), lambda w: sum(w.beta[s] * w.ab() / w.bar(s) for s in range(1, w.t + 1))),
    (False, r"1-\bar\alpha_t = \sum_{s=1}^{t} \beta_s \bar\alpha_s / \bar\alpha_t", lambda w: 1 - w.ab(), lambda w: sum(w.beta[s] * w.bar(s) / w.ab() for s in range(1, w.t + 1))),
    (True, r"\prod_{s=1}^{t} \alpha_s / \bar\alpha_t = 1", lambda w: math.prod(1 - b for b in w.beta[1 : w.t + 1]) / w.ab(), lambda w: 1.0),
    (True, r"1-\bar\alpha_t = \sum_{s=1}^t \left(\prod_{i=s+1}^t \alpha_i\right) \beta_s", lambda w: 1 - w.ab(), lambda w: sum(w.beta[s] * w.ab() / w.bar(s) for s in range(1, w.t + 1))),
    (True, r"786\,432 = 3 \cdot 512^2", lambda w: 786432.0, lambda w: 3 * 512.0**2),
    (True, r"786{,}432 / 16,384 = 48", lambda w: 786432 / 16384, lambda w: 48.0),
    (False, r"786\,432 = 64 \cdot 16\,384", lambda w: 786432.0, lambda w: 64 * 16384.0),
    (True, r"\bar\alpha_t = \operatorname{sigmoid}(\log\mathrm{SNR}(t))", lambda w: w.ab(), lambda w: 1 / (1 + math.exp(-math.log(snr(w))))),
    (False, r"1 - \bar\alpha_t = \operatorname{sigmoid}(\log\mathrm{SNR}(t))", lambda w: 1 - w.ab(), lambda w: 1 / (1 + math.exp(-math.log(snr(w))))),
    (True, r"\frac{\mathrm{SNR}(t)}{\mathrm{SNR}(t-1)} = \frac{\alpha_t(1-\bar\alpha_{t-1})}{1-\bar\alpha_t}", lambda w: snr(w) / snr(w, -1), lambda w: w.al() * (1 - w.ab(-1)) / (1 - w.ab())),
    (True, r"\tilde\mu_t(x_t,x_0) = \left(\frac{\sqrt{\alpha_t}}{\beta_t}x_t + \frac{\sqrt{\bar\alpha_{t-1}}}{1-\bar\alpha_{t-1}}x_0\right) \tilde\beta_t", lambda w: w.posterior()[0], lambda w: (sq(w.al()) / w.be() * w.xt + sq(w.ab(-1)) / (1 - w.ab(-1)) * w.x0) * w.posterior()[1]),
    (False, r"\tilde\mu_t(x_t,x_0) = \left(\frac{\sqrt{\alpha_t}}{\beta_t}x_t + \frac{\sqrt{\bar\alpha_{t}}}{1-\bar\alpha_{t}}x_0\right) \tilde\beta_t", lambda w: w.posterior()[0], lambda w: (sq(w.al()) / w.be() * w.xt + sq(w.ab()) / (1 - w.ab()) * w.x0) * w.posterior()[1]),
    (True, r"\hat{x}_0(x_t) = \sqrt{\bar\alpha_t} x_t - \sqrt{1-\bar\alpha_t}\, v_\theta(x_t,t)", x0_hat, lambda w: sq(w.ab()) * w.xt - sq(1 - w.ab()) * v_net(w)),
    (True, r"\epsilon_\theta(x_t,t) = \sqrt{\bar\alpha_t}\, v_\theta(x_t,t) + \sqrt{1-\bar\alpha_t}\, x_t", lambda w: w.net(), lambda w: sq(w.ab()) * v_net(w) + sq(1 - w.ab()) * w.xt),
    (False, r"\epsilon_\theta(x_t,t) = \sqrt{\bar\alpha_t}\, v_\theta(x_t,t) - \sqrt{1-\bar\alpha_t}\, x_t", lambda w: w.net(), lambda w: sq(w.ab()) * v_net(w) - sq(1 - w.ab()) * w.xt),
    (True, r"\hat x_0 = \frac{x_t + (1-\bar\alpha_t) s_\theta(x_t,t)}{\sqrt{\bar\alpha_t}}", x0_hat, lambda w: (w.xt + (1 - w.ab()) * s_net(w)) / sq(w.ab())),
    (False, r"\hat x_0 = \frac{x_t - (1-\bar\alpha_t) s_\theta(x_t,t)}{\sqrt{\bar\alpha_t}}", x0_hat, lambda w: (w.xt - (1 - w.ab()) * s_net(w)) / sq(w.ab())),
    (True, r"\left\|s_\theta(x_t,t) - \nabla_{x_t}\log q(x_t|x_0)\right\|^2 = \frac{1}{1-\bar\alpha_t}\|\epsilon-\epsilon_\theta(x_t,t)\|^2", lambda w: norm2(s_net(w) - score(w)), lambda w: norm2(w.eps - w.net()) / (1 - w.ab())),
    (True, r"\|v - v_\theta(x_t,t)\|^2 = (1+\mathrm{SNR}(t))\|x_0-\hat x_0\|^2", lambda w: norm2(velocity(w) - v_net(w)), lambda w: (1 + snr(w)) * norm2(w.x0 - x0_hat(w))),
    (False, r"\|v - v_\theta(x_t,t)\|^2 = \mathrm{SNR}(t)\|x_0-\hat x_0\|^2", lambda w: norm2(velocity(w) - v_net(w)), lambda w: snr(w) * norm2(w.x0 - x0_hat(w))),
    (True, r"v = \frac{\sqrt{\bar\alpha_t}\,x_t - x_0}{\sqrt{1-\bar\alpha_t}}", velocity, lambda w: (sq(w.ab()) * w.xt - w.x0) / sq(1 - w.ab())),
    (False, r"v = \frac{\sqrt{\bar\alpha_t}\,x_0 - x_t}{\sqrt{1-\bar\alpha_t}}", velocity, lambda w: (sq(w.ab()) * w.x0 - w.xt) / sq(1 - w.ab())),
    (True, r"\log\mathcal{N}(x_t;\mu_1,\sigma_1^2 I) = -\frac{d}{2}\log(2\pi\sigma_1^2) - \frac{1}{2\sigma_1^2}\|x_t-\mu_1\|^2", lambda w: logpdf(w.xt, w.mu1, w.s1**2), lambda w: -1.5 * math.log(2 * math.pi * w.s1**2) - norm2(w.xt - w.mu1) / (2 * w.s1**2)),
    (False, r"\log\mathcal{N}(x_t;\mu_1,\sigma_1^2 I) = -\frac{d}{2}\log(2\pi\sigma_1) - \frac{1}{2\sigma_1^2}\|x_t-\mu_1\|^2", lambda w: logpdf(w.xt, w.mu1, w.s1**2), lambda w: -1.5 * math.log(2 * math.pi * w.s1) - norm2(w.xt - w.mu1) / (2 * w.s1**2)),
    (True, r"\nabla_x\log\mathcal{N}(x;\mu_1,\sigma_1^2 I) = -\frac{x-\mu_1}{\sigma_1^2}", lambda w: gradient(lambda x: logpdf(x, w.mu1, w.s1**2), w.xt), lambda w: -(w.xt - w.mu1) / w.s1**2),
    (True, r"H(q(x_t|x_0)) = \frac{d}{2}\log(2\pi e(1-\bar\alpha_t))", lambda w: -np.mean([0]) + 1.5 * (math.log(2 * math.pi * (1 - w.ab())) + 1), lambda w: 1.5 * math.log(2 * math.pi * math.e * (1 - w.ab()))),
    (False, r"H(\mathcal{N}(\mu,\sigma_1^2 I)) = \frac{d}{2}\log(2\pi\sigma_1^2)", lambda w: 1.5 * (math.log(2 * math.pi * w.s1**2) + 1), lambda w: 1.5 * math.log(2 * math.pi * w.s1**2)),
    (True, r"D_{KL}(q(x_{t-1}|x_t,x_0)\|\mathcal{N}(x_{t-1};\mu_\theta(x_t,t),\tilde\beta_t I)) = \frac{1}{2\tilde\beta_t}\|\tilde\mu_t(x_t,x_0)-\mu_\theta(x_t,t)\|^2", lambda w: kl(w.posterior()[0], w.posterior()[1], mu_theta(w), w.posterior()[1]), lambda w: posterior_gap(w) / (2 * w.posterior()[1])),
    (False, r"D_{KL}(q(x_{t-1}|x_t,x_0)\|\mathcal{N}(x_{t-1};\mu_\theta(x_t,t),\tilde\beta_t I)) = \frac{1}{2\beta_t}\|\tilde\mu_t(x_t,x_0)-\mu_\theta(x_t,t)\|^2", lambda w: kl(w.posterior()[0], w.posterior()[1], mu_theta(w), w.posterior()[1]), lambda w: posterior_gap(w) / (2 * w.be())),
    (True, r"x_t|x_0 \sim \mathcal{N}(\sqrt{\bar\alpha_t}x_0,(1-\bar\alpha_t)I)", lambda w: (sq(w.ab()), 1 - w.ab()), lambda w: (sq(w.ab()), 1 - w.ab())),
    (False, r"x_t|x_{t-1} \sim \mathcal{N}(\sqrt{\bar\alpha_t}x_{t-1},(1-\bar\alpha_t)I)", lambda w: (sq(w.al()), w.be()), lambda w: (sq(w.ab()), 1 - w.ab())),
    (True, r"x_t = \sqrt{\bar\alpha_t}x_0 + \sigma_t\epsilon, \quad \sigma_t = \sqrt{1-\bar\alpha_t}", lambda w: w.xt, lambda w: sq(w.ab()) * w.x0 + sq(1 - w.ab()) * w.eps),
    (False, r"x_t = \sqrt{\bar\alpha_t}x_0 + \sigma_t\epsilon, \quad \sigma_t = 1-\bar\alpha_t", lambda w: w.xt, lambda w: sq(w.ab()) * w.x0 + (1 - w.ab()) * w.eps),
]  # fmt: skip


class ScoredWorld(World):
    """With any vector for the score of q(x_t) or p(x_t); w.mu1 serves as the score given y, w.sigma_t as the guidance weight."""

    def __init__(self, seed, t):
        super().__init__(seed, t)
        self.s0 = np.random.default_rng(1000 + seed).normal(size=3)


@pytest.mark.parametrize(("true", "latex", "left", "right"), GAUSSIAN, ids=[r[1][:60] for r in GAUSSIAN])
def test_gaussian(true, latex, left, right):
    worlds = [ScoredWorld(seed, t) for seed in range(3) for t in (2, 3, 5)]
    assert all(agree(left(w), right(w)) for w in worlds) == true
    found = judge(latex, "gaussian")
    assert found.kind == ("identity" if true else "refuted"), str(found)
