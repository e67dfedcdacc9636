r"""Statements of the course's subject, true and false, each with its truth established twice.

Beside every statement stands the same thing by hand: two Python functions that add and multiply table entries of a small
random world, with nothing of the checker in them. `test_truth_by_hand` finds out from them whether the statement is an identity, a bound, or
false; `test_verdict` asks the checker. The two must agree.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from by_hand import Hand, X, Z, log, prod

from course.equations import judge


@dataclass
class Case:
    setting: str
    kind: str
    latex: str
    left: Callable
    right: Callable
    free: Callable  # T, t -> names of the free variables
    ts: Callable = lambda T: [None]


CASES: list[Case] = []


def case(setting, kind, latex, left, right, free="x", ts=None):
    f = free if callable(free) else (lambda T, t: free)
    CASES.append(Case(setting, kind, latex, left, right, f, ts or (lambda T: [None])))


def elbo(w, v):
    return w.E("q(z|x)", lambda u: log(w("p(x z)", u) / w("q(z|x)", u)), v)


# ---- vae: p(x, z), q(z|x)
V = "vae"
LP = lambda w, v, T, t: log(w("p(x)", v))  # noqa: E731
ELBO = lambda w, v, T, t: elbo(w, v)  # noqa: E731
case(
    V,
    "identity",
    r"p(x,z) = p(x|z)p(z)",
    lambda w, v, T, t: w("p(x z)", v),
    lambda w, v, T, t: w("p(x|z)", v) * w("p(z)", v),
    "x z",
)
case(
    V,
    "identity",
    r"p(x,z) = p(z|x)p(x)",
    lambda w, v, T, t: w("p(x z)", v),
    lambda w, v, T, t: w("p(z|x)", v) * w("p(x)", v),
    "x z",
)
case(
    V,
    "refuted",
    r"p(x,z) = p(x|z)p(x)",
    lambda w, v, T, t: w("p(x z)", v),
    lambda w, v, T, t: w("p(x|z)", v) * w("p(x)", v),
    "x z",
)
case(
    V, "refuted", r"p(x,z) = p(x)p(z)", lambda w, v, T, t: w("p(x z)", v), lambda w, v, T, t: w("p(x)", v) * w("p(z)", v), "x z"
)
case(
    V,
    "identity",
    r"p(x) = \int p(x|z)p(z)\,dz",
    lambda w, v, T, t: w("p(x)", v),
    lambda w, v, T, t: w.sum("z", lambda u: w("p(x|z)", u) * w("p(z)", u), v),
)
case(
    V,
    "refuted",
    r"p(x) = \int p(x|z)p(z|x)\,dz",
    lambda w, v, T, t: w("p(x)", v),
    lambda w, v, T, t: w.sum("z", lambda u: w("p(x|z)", u) * w("p(z|x)", u), v),
)
case(
    V,
    "refuted",
    r"p(x) = \int p(x|z)\,dz",
    lambda w, v, T, t: w("p(x)", v),
    lambda w, v, T, t: w.sum("z", lambda u: w("p(x|z)", u), v),
)
case(V, "identity", r"\int q(z|x)\,dz = 1", lambda w, v, T, t: w.sum("z", lambda u: w("q(z|x)", u), v), lambda w, v, T, t: 1.0)
case(
    V,
    "identity",
    r"p(z|x) = \frac{p(x|z)p(z)}{p(x)}",
    lambda w, v, T, t: w("p(z|x)", v),
    lambda w, v, T, t: w("p(x|z)", v) * w("p(z)", v) / w("p(x)", v),
    "x z",
)
case(
    V,
    "refuted",
    r"p(z|x) = \frac{p(x|z)p(x)}{p(z)}",
    lambda w, v, T, t: w("p(z|x)", v),
    lambda w, v, T, t: w("p(x|z)", v) * w("p(x)", v) / w("p(z)", v),
    "x z",
)
case(
    V,
    "identity",
    r"p(z|x) = \frac{p(x|z)p(z)}{\int p(x|z')p(z')\,dz'}",
    lambda w, v, T, t: w("p(z|x)", v),
    lambda w, v, T, t: w("p(x|z)", v) * w("p(z)", v) / w.sum("z", lambda u: w("p(x|z)", u) * w("p(z)", u), v),
    "x z",
)
case(V, "refuted", r"p(z|x) = p(z)", lambda w, v, T, t: w("p(z|x)", v), lambda w, v, T, t: w("p(z)", v), "x z")
case(V, "refuted", r"q(z|x) = p(z|x)", lambda w, v, T, t: w("q(z|x)", v), lambda w, v, T, t: w("p(z|x)", v), "x z")
case(
    V,
    "identity",
    r"\log p(x) = \mathbb{E}_{q(z|x)}[\log p(x)]",
    LP,
    lambda w, v, T, t: w.E("q(z|x)", lambda u: log(w("p(x)", u)), v),
)
case(
    V,
    "identity",
    r"\log p(x) = \log p(x) \int q(z|x)\,dz",
    LP,
    lambda w, v, T, t: log(w("p(x)", v)) * w.sum("z", lambda u: w("q(z|x)", u), v),
)
case(V, "identity", r"\log p(x) = \log \int p(x,z)\,dz", LP, lambda w, v, T, t: log(w.sum("z", lambda u: w("p(x z)", u), v)))
case(
    V,
    "identity",
    r"\log p(x) = \log \mathbb{E}_{q(z|x)}\left[\frac{p(x,z)}{q(z|x)}\right]",
    LP,
    lambda w, v, T, t: log(w.E("q(z|x)", lambda u: w("p(x z)", u) / w("q(z|x)", u), v)),
)
case(V, "refuted", r"\log p(x) = \mathbb{E}_{q(z|x)}\left[\log \frac{p(x,z)}{q(z|x)}\right]", LP, ELBO)
case(V, "bound", r"\log p(x) \geq \mathbb{E}_{q(z|x)}\left[\log \frac{p(x,z)}{q(z|x)}\right]", LP, ELBO)
case(V, "refuted", r"\log p(x) \leq \mathbb{E}_{q(z|x)}\left[\log \frac{p(x,z)}{q(z|x)}\right]", LP, ELBO)
case(
    V,
    "refuted",
    r"\log p(x) \geq \mathbb{E}_{q(z|x)}\left[\log \frac{q(z|x)}{p(x,z)}\right]",
    LP,
    lambda w, v, T, t: -elbo(w, v),
)
case(
    V,
    "refuted",
    r"\log p(x) \geq \mathbb{E}_{p(z|x)}\left[\log \frac{p(x|z)}{q(z|x)}\right]",
    LP,
    lambda w, v, T, t: w.E("p(z|x)", lambda u: log(w("p(x|z)", u) / w("q(z|x)", u)), v),
)
case(
    V,
    "identity",
    r"\log p(x) = \mathbb{E}_{p(z|x)}\left[\log \frac{p(x,z)}{p(z|x)}\right]",
    LP,
    lambda w, v, T, t: w.E("p(z|x)", lambda u: log(w("p(x z)", u) / w("p(z|x)", u)), v),
)
case(
    V,
    "identity",
    r"\log p(x) = \mathbb{E}_{q(z|x)}\left[\log \frac{p(x,z)}{q(z|x)}\right] + \mathrm{KL}(q(z|x) \| p(z|x))",
    LP,
    lambda w, v, T, t: elbo(w, v) + w.KL("q(z|x)", "p(z|x)", v),
)
case(
    V,
    "refuted",
    r"\log p(x) = \mathbb{E}_{q(z|x)}\left[\log \frac{p(x,z)}{q(z|x)}\right] - \mathrm{KL}(q(z|x) \| p(z|x))",
    LP,
    lambda w, v, T, t: elbo(w, v) - w.KL("q(z|x)", "p(z|x)", v),
)
case(
    V,
    "refuted",
    r"\log p(x) = \mathbb{E}_{q(z|x)}\left[\log \frac{p(x,z)}{q(z|x)}\right] + \mathrm{KL}(p(z|x) \| q(z|x))",
    LP,
    lambda w, v, T, t: elbo(w, v) + w.KL("p(z|x)", "q(z|x)", v),
)
case(
    V,
    "refuted",
    r"\log p(x) = \mathbb{E}_{q(z|x)}\left[\log \frac{p(x,z)}{q(z|x)}\right] + \mathrm{KL}(q(z|x) \| p(z))",
    LP,
    lambda w, v, T, t: elbo(w, v) + w.KL("q(z|x)", "p(z)", v),
)
case(
    V,
    "refuted",
    r"\log p(x) = \mathbb{E}_q\left[\log \frac{p(x, z)}{q(z|x)}\right] + \log \mathbb{E}_q\left[\frac{q(z|x)}{p(z|x)}\right]",
    LP,
    lambda w, v, T, t: elbo(w, v) + log(w.E("q(z|x)", lambda u: w("q(z|x)", u) / w("p(z|x)", u), v)),
)
case(
    V,
    "identity",
    r"\log p(x) = \mathbb{E}_q\left[\log \frac{p(x, z)}{q(z|x)}\right] + \mathbb{E}_q\left[\log \frac{q(z|x)}{p(z|x)}\right]",
    LP,
    lambda w, v, T, t: elbo(w, v) + w.E("q(z|x)", lambda u: log(w("q(z|x)", u) / w("p(z|x)", u)), v),
)
case(
    V,
    "bound",
    r"\log p(x) \leq \mathbb{E}_q\left[\log \frac{p(x, z)}{q(z|x)}\right] + \log \mathbb{E}_q\left[\frac{q(z|x)}{p(z|x)}\right]",
    LP,
    lambda w, v, T, t: elbo(w, v) + log(w.E("q(z|x)", lambda u: w("q(z|x)", u) / w("p(z|x)", u), v)),
)
case(
    V,
    "identity",
    r"\mathbb{E}_{q(z|x)}\left[\log \frac{p(x,z)}{q(z|x)}\right] = \mathbb{E}_{q(z|x)}[\log p(x|z)] - \mathrm{KL}(q(z|x) \| p(z))",
    ELBO,
    lambda w, v, T, t: w.E("q(z|x)", lambda u: log(w("p(x|z)", u)), v) - w.KL("q(z|x)", "p(z)", v),
)
case(
    V,
    "refuted",
    r"\mathbb{E}_{q(z|x)}\left[\log \frac{p(x,z)}{q(z|x)}\right] = \mathbb{E}_{q(z|x)}[\log p(x|z)] + \mathrm{KL}(q(z|x) \| p(z))",
    ELBO,
    lambda w, v, T, t: w.E("q(z|x)", lambda u: log(w("p(x|z)", u)), v) + w.KL("q(z|x)", "p(z)", v),
)
case(
    V,
    "refuted",
    r"\mathbb{E}_{q(z|x)}\left[\log \frac{p(x,z)}{q(z|x)}\right] = \mathbb{E}_{q(z|x)}[\log p(x|z)] - \mathrm{KL}(p(z) \| q(z|x))",
    ELBO,
    lambda w, v, T, t: w.E("q(z|x)", lambda u: log(w("p(x|z)", u)), v) - w.KL("p(z)", "q(z|x)", v),
)
case(
    V,
    "refuted",
    r"\mathbb{E}_{q(z|x)}\left[\log \frac{p(x,z)}{q(z|x)}\right] = \mathbb{E}_{q(z|x)}[\log p(x|z)] - \mathrm{KL}(q(z|x) \| p(z|x))",
    ELBO,
    lambda w, v, T, t: w.E("q(z|x)", lambda u: log(w("p(x|z)", u)), v) - w.KL("q(z|x)", "p(z|x)", v),
)
case(
    V,
    "refuted",
    r"\mathbb{E}_{q(z|x)}\left[\log \frac{p(x,z)}{q(z|x)}\right] = \mathbb{E}_{q(z|x)}[\log p(z|x)] - \mathrm{KL}(q(z|x) \| p(z))",
    ELBO,
    lambda w, v, T, t: w.E("q(z|x)", lambda u: log(w("p(z|x)", u)), v) - w.KL("q(z|x)", "p(z)", v),
)
case(
    V,
    "refuted",
    r"\log p(x) = \mathbb{E}_{q(z|x)}[\log p(x|z)] - \mathrm{KL}(q(z|x) \| p(z))",
    LP,
    lambda w, v, T, t: w.E("q(z|x)", lambda u: log(w("p(x|z)", u)), v) - w.KL("q(z|x)", "p(z)", v),
)
case(
    V,
    "bound",
    r"\log p(x) \geq \mathbb{E}_{q(z|x)}[\log p(x|z)] - \mathrm{KL}(q(z|x) \| p(z))",
    LP,
    lambda w, v, T, t: w.E("q(z|x)", lambda u: log(w("p(x|z)", u)), v) - w.KL("q(z|x)", "p(z)", v),
)
case(
    V,
    "refuted",
    r"\log p(x) \geq \mathbb{E}_{q(z|x)}[\log p(x|z)]",
    LP,
    lambda w, v, T, t: w.E("q(z|x)", lambda u: log(w("p(x|z)", u)), v),
)
case(
    V,
    "bound",
    r"\log p(x) \geq \mathbb{E}_{p(z)}[\log p(x|z)]",
    LP,
    lambda w, v, T, t: w.E("p(z)", lambda u: log(w("p(x|z)", u)), v),
)
case(
    V,
    "refuted",
    r"\log p(x) = \mathbb{E}_{p(z)}[\log p(x|z)]",
    LP,
    lambda w, v, T, t: w.E("p(z)", lambda u: log(w("p(x|z)", u)), v),
)
case(
    V,
    "identity",
    r"p(x) = \mathbb{E}_{p(z)}[p(x|z)]",
    lambda w, v, T, t: w("p(x)", v),
    lambda w, v, T, t: w.E("p(z)", lambda u: w("p(x|z)", u), v),
)
case(
    V,
    "refuted",
    r"p(x) = \mathbb{E}_{q(z|x)}[p(x|z)]",
    lambda w, v, T, t: w("p(x)", v),
    lambda w, v, T, t: w.E("q(z|x)", lambda u: w("p(x|z)", u), v),
)
case(
    V,
    "bound",
    r"\log p(x) \leq \mathbb{E}_{p(z|x)}[\log p(x|z)]",
    LP,
    lambda w, v, T, t: w.E("p(z|x)", lambda u: log(w("p(x|z)", u)), v),
)
case(
    V, "bound", r"\mathrm{KL}(q(z|x) \| p(z|x)) \geq 0", lambda w, v, T, t: w.KL("q(z|x)", "p(z|x)", v), lambda w, v, T, t: 0.0
)
case(
    V,
    "refuted",
    r"\mathrm{KL}(q(z|x) \| p(z|x)) = \mathrm{KL}(p(z|x) \| q(z|x))",
    lambda w, v, T, t: w.KL("q(z|x)", "p(z|x)", v),
    lambda w, v, T, t: w.KL("p(z|x)", "q(z|x)", v),
)
case(
    V,
    "identity",
    r"\mathrm{KL}(q(z|x) \| p(z|x)) = \mathrm{KL}(q(z|x) \| p(z)) - \mathbb{E}_{q(z|x)}[\log p(x|z)] + \log p(x)",
    lambda w, v, T, t: w.KL("q(z|x)", "p(z|x)", v),
    lambda w, v, T, t: w.KL("q(z|x)", "p(z)", v) - w.E("q(z|x)", lambda u: log(w("p(x|z)", u)), v) + log(w("p(x)", v)),
)
case(
    V,
    "identity",
    r"\mathrm{KL}(q(z|x) \| p(z|x)) = -\mathbb{E}_{q(z|x)}\left[\log \frac{p(z|x)}{q(z|x)}\right]",
    lambda w, v, T, t: w.KL("q(z|x)", "p(z|x)", v),
    lambda w, v, T, t: -w.E("q(z|x)", lambda u: log(w("p(z|x)", u) / w("q(z|x)", u)), v),
)
case(
    V,
    "refuted",
    r"\mathrm{KL}(q(z|x) \| p(z|x)) = \mathbb{E}_{p(z|x)}\left[\log \frac{q(z|x)}{p(z|x)}\right]",
    lambda w, v, T, t: w.KL("q(z|x)", "p(z|x)", v),
    lambda w, v, T, t: w.E("p(z|x)", lambda u: log(w("q(z|x)", u) / w("p(z|x)", u)), v),
)
case(
    V,
    "bound",
    r"\mathbb{E}_{q(z|x)}[\log q(z|x)] \geq \mathbb{E}_{q(z|x)}[\log p(z|x)]",
    lambda w, v, T, t: w.E("q(z|x)", lambda u: log(w("q(z|x)", u)), v),
    lambda w, v, T, t: w.E("q(z|x)", lambda u: log(w("p(z|x)", u)), v),
)
case(
    V,
    "bound",
    r"\log \mathbb{E}_{q(z|x)}[p(x|z)] \geq \mathbb{E}_{q(z|x)}[\log p(x|z)]",
    lambda w, v, T, t: log(w.E("q(z|x)", lambda u: w("p(x|z)", u), v)),
    lambda w, v, T, t: w.E("q(z|x)", lambda u: log(w("p(x|z)", u)), v),
)
case(
    V,
    "refuted",
    r"\log \mathbb{E}_{q(z|x)}[p(x|z)] = \mathbb{E}_{q(z|x)}[\log p(x|z)]",
    lambda w, v, T, t: log(w.E("q(z|x)", lambda u: w("p(x|z)", u), v)),
    lambda w, v, T, t: w.E("q(z|x)", lambda u: log(w("p(x|z)", u)), v),
)
case(V, "refuted", r"\log p(x) > \mathbb{E}_{q(z|x)}\left[\log \frac{p(x,z)}{q(z|x)}\right]", LP, ELBO)
case(
    V,
    "refuted",
    r"\log p(x) = \mathbb{E}_{q(z|x)}[\log p(x,z)]",
    LP,
    lambda w, v, T, t: w.E("q(z|x)", lambda u: log(w("p(x z)", u)), v),
)
case(
    V,
    "refuted",
    r"\mathbb{E}_{q(z|x)}\left[\log \frac{p(z)}{q(z|x)}\right] = \mathrm{KL}(q(z|x) \| p(z))",
    lambda w, v, T, t: -w.KL("q(z|x)", "p(z)", v),
    lambda w, v, T, t: w.KL("q(z|x)", "p(z)", v),
)
case(
    V,
    "identity",
    r"\log \frac{p(x,z)}{q(z|x)} = \log p(x) - \log \frac{q(z|x)}{p(z|x)}",
    lambda w, v, T, t: log(w("p(x z)", v) / w("q(z|x)", v)),
    lambda w, v, T, t: log(w("p(x)", v)) - log(w("q(z|x)", v) / w("p(z|x)", v)),
    "x z",
)
case(
    V,
    "refuted",
    r"\log p(x,z) = \log p(x|z) - \log p(z)",
    lambda w, v, T, t: log(w("p(x z)", v)),
    lambda w, v, T, t: log(w("p(x|z)", v)) - log(w("p(z)", v)),
    "x z",
)
case(
    V,
    "identity",
    r"\mathbb{E}_{p(x)}\left[\mathbb{E}_{p(z|x)}[\log p(x,z)]\right] = \mathbb{E}_{p(x,z)}[\log p(x,z)]",
    lambda w, v, T, t: w.E("p(x)", lambda u: w.E("p(z|x)", lambda s: log(w("p(x z)", s)), u), v),
    lambda w, v, T, t: w.E("p(x z)", lambda u: log(w("p(x z)", u)), v),
    "",
)
case(
    V,
    "bound",
    r"I_p(x;z) \geq 0",
    lambda w, v, T, t: w.E("p(x z)", lambda u: log(w("p(x z)", u) / w("p(x)", u) / w("p(z)", u)), v),
    lambda w, v, T, t: 0.0,
    "",
)
case(
    V,
    "identity",
    r"I_p(x;z) = \mathbb{E}_{p(x)}[\mathrm{KL}(p(z|x) \| p(z))]",
    lambda w, v, T, t: w.E("p(x z)", lambda u: log(w("p(x z)", u) / w("p(x)", u) / w("p(z)", u)), v),
    lambda w, v, T, t: w.E("p(x)", lambda u: w.KL("p(z|x)", "p(z)", u), v),
    "",
)
case(
    V,
    "refuted",
    r"p(x) p(z|x) + p(x|z) = p(z)",
    lambda w, v, T, t: w("p(x)", v) * w("p(z|x)", v) + w("p(x|z)", v),
    lambda w, v, T, t: w("p(z)", v),
    "x z",
)

# ---- hvae: p: z_T -> ... -> z_1 -> x; q: x -> z_1 -> ... -> z_T
H = "hvae"
JOINT = lambda w, v, T, t: w(f"p(x {Z(1, T)})", v)  # noqa: E731
QALL = lambda w, v, T, t: w(f"q({Z(1, T)}|x)", v)  # noqa: E731
FREE = lambda T, t: f"x {Z(1, T)}"  # noqa: E731


def helbo(w, v, T):
    return w.E(f"q({Z(1, T)}|x)", lambda u: log(w(f"p(x {Z(1, T)})", u) / w(f"q({Z(1, T)}|x)", u)), v)


def pfac(w, v, T, a=2, b=None):
    return prod(w(f"p(z{t - 1}|z{t})", v) for t in range(a, (b or T) + 1))


def qfac(w, v, T, a=2):
    return prod(w(f"q(z{t}|z{t - 1})", v) for t in range(a, T + 1))


HELBO = lambda w, v, T, t: helbo(w, v, T)  # noqa: E731
case(
    H,
    "identity",
    r"p(x,z_{1:T}) = p(z_T) p(x|z_1)\prod_{t=2}^T p(z_{t-1}|z_t)",
    JOINT,
    lambda w, v, T, t: w(f"p(z{T})", v) * w("p(x|z1)", v) * pfac(w, v, T),
    FREE,
)
case(
    H,
    "identity",
    r"q(z_{1:T}|x) = q(z_1|x)\prod_{t=2}^T q(z_t|z_{t-1})",
    QALL,
    lambda w, v, T, t: w("q(z1|x)", v) * qfac(w, v, T),
    FREE,
)
case(
    H,
    "refuted",
    r"p(x,z_{1:T}) = p(z_T) p(x|z_1)\prod_{t=2}^T p(z_t|z_{t-1})",
    JOINT,
    lambda w, v, T, t: w(f"p(z{T})", v) * w("p(x|z1)", v) * prod(w(f"p(z{s}|z{s - 1})", v) for s in range(2, T + 1)),
    FREE,
)
case(
    H,
    "identity",
    r"p(x,z_{1:T}) = p(z_1) p(x|z_1)\prod_{t=2}^T p(z_t|z_{t-1})",
    JOINT,
    lambda w, v, T, t: w("p(z1)", v) * w("p(x|z1)", v) * prod(w(f"p(z{s}|z{s - 1})", v) for s in range(2, T + 1)),
    FREE,
)
case(
    H,
    "refuted",
    r"p(x,z_{1:T}) = p(z_1) p(x|z_1)\prod_{t=2}^T p(z_{t-1}|z_t)",
    JOINT,
    lambda w, v, T, t: w("p(z1)", v) * w("p(x|z1)", v) * pfac(w, v, T),
    FREE,
)
case(
    H,
    "refuted",
    r"p(x,z_{1:T}) = p(x|z_1)\prod_{t=2}^T p(z_{t-1}|z_t)",
    JOINT,
    lambda w, v, T, t: w("p(x|z1)", v) * pfac(w, v, T),
    FREE,
)
case(
    H,
    "refuted",
    r"p(x,z_{1:T}) = p(z_T) p(x|z_1)\prod_{t=2}^{T-1} p(z_{t-1}|z_t)",
    JOINT,
    lambda w, v, T, t: (
        w(f"p(z{T})", v) * w("p(x|z1)", v) * pfac(w, v, T, 2, T - 1) if T > 2 else w("p(z2)", v) * w("p(x|z1)", v)
    ),
    FREE,
)
case(
    H,
    "refuted",
    r"p(x,z_{1:T}) = p(z_T) p(x|z_T)\prod_{t=2}^T p(z_{t-1}|z_t)",
    JOINT,
    lambda w, v, T, t: w(f"p(z{T})", v) * w(f"p(x|z{T})", v) * pfac(w, v, T),
    FREE,
)
case(
    H,
    "refuted",
    r"p(x,z_{1:T}) = p(z_T) p(x|z_1)\prod_{t=3}^T p(z_{t-1}|z_t)",
    JOINT,
    lambda w, v, T, t: w(f"p(z{T})", v) * w("p(x|z1)", v) * pfac(w, v, T, 3),
    FREE,
)
case(H, "refuted", r"q(z_{1:T}|x) = \prod_{t=2}^T q(z_t|z_{t-1})", QALL, lambda w, v, T, t: qfac(w, v, T), FREE)
case(
    H,
    "refuted",
    r"q(z_{1:T}|x) = q(z_1|x)\prod_{t=2}^T q(z_{t-1}|z_t)",
    QALL,
    lambda w, v, T, t: w("q(z1|x)", v) * prod(w(f"q(z{s - 1}|z{s})", v) for s in range(2, T + 1)),
    FREE,
)
case(
    H,
    "identity",
    r"q(z_{1:T}|x) = q(z_T|x)\prod_{t=2}^T q(z_{t-1}|z_t,x)",
    QALL,
    lambda w, v, T, t: w(f"q(z{T}|x)", v) * prod(w(f"q(z{s - 1}|z{s} x)", v) for s in range(2, T + 1)),
    FREE,
)
case(
    H,
    "refuted",
    r"q(z_{1:T}|x) = \prod_{t=1}^T q(z_t|x)",
    QALL,
    lambda w, v, T, t: prod(w(f"q(z{s}|x)", v) for s in range(1, T + 1)),
    FREE,
)
case(H, "refuted", r"\log p(x) = \mathbb{E}_q\left[\log \frac{p(x, z_{1:T})}{q(z_{1:T}|x)}\right]", LP, HELBO)
case(H, "bound", r"\log p(x) \geq \mathbb{E}_q\left[\log \frac{p(x, z_{1:T})}{q(z_{1:T}|x)}\right]", LP, HELBO)


def HW(w, v, T, t):
    return w.E(
        f"q({Z(1, T)}|x)",
        lambda u: log(w(f"p(z{T})", u) * w("p(x|z1)", u) * pfac(w, u, T) / w("q(z1|x)", u) / qfac(w, u, T)),
        v,
    )


case(
    H,
    "bound",
    r"\log p(x) \geq \mathbb{E}_q\left[\log \frac{p(z_T)p(x|z_1)\prod_{t=2}^T p(z_{t-1}|z_t)}{q(z_1|x)\prod_{t=2}^T q(z_t|z_{t-1})}\right]",
    LP,
    HW,
)
case(
    H,
    "refuted",
    r"\log p(x) = \mathbb{E}_q\left[\log \frac{p(z_T)p(x|z_1)\prod_{t=2}^T p(z_{t-1}|z_t)}{q(z_1|x)\prod_{t=2}^T q(z_t|z_{t-1})}\right]",
    LP,
    HW,
)
case(
    H,
    "refuted",
    r"\log p(x) = \mathbb{E}_q\left[\log \frac{p(z_T)p(x|z_1)\prod_{t=2}^T p(z_t|z_{t-1})}{q(z_1|x)\prod_{t=2}^T q(z_{t-1}|z_t)}\right]",
    LP,
    lambda w, v, T, t: w.E(
        f"q({Z(1, T)}|x)",
        lambda u: log(
            w(f"p(z{T})", u)
            * w("p(x|z1)", u)
            * prod(w(f"p(z{s}|z{s - 1})", u) for s in range(2, T + 1))
            / w("q(z1|x)", u)
            / prod(w(f"q(z{s - 1}|z{s})", u) for s in range(2, T + 1))
        ),
        v,
    ),
)
case(
    H,
    "identity",
    r"\log p(x) = \mathbb{E}_q\left[\log \frac{p(x, z_{1:T})}{q(z_{1:T}|x)}\right] + \mathrm{KL}(q(z_{1:T}|x) \| p(z_{1:T}|x))",
    LP,
    lambda w, v, T, t: helbo(w, v, T) + w.KL(f"q({Z(1, T)}|x)", f"p({Z(1, T)}|x)", v),
)
case(
    H,
    "refuted",
    r"\log p(x) = \mathbb{E}_q\left[\log \frac{p(x, z_{1:T})}{q(z_{1:T}|x)}\right] + \mathrm{KL}(q(z_T|x) \| p(z_T|x))",
    LP,
    lambda w, v, T, t: helbo(w, v, T) + w.KL(f"q(z{T}|x)", f"p(z{T}|x)", v),
)
case(
    H,
    "bound",
    r"\log p(x) \geq \mathbb{E}_q\left[\log \frac{p(x, z_{1:T})}{q(z_{1:T}|x)}\right] + \mathrm{KL}(q(z_T|x) \| p(z_T|x))",
    LP,
    lambda w, v, T, t: helbo(w, v, T) + w.KL(f"q(z{T}|x)", f"p(z{T}|x)", v),
)


def hthree(w, v, T, average=True, prior="p(z{T})"):
    out = w.E("q(z1|x)", lambda u: log(w("p(x|z1)", u)), v) - w.KL(f"q(z{T}|x)", f"p(z{T})", v)
    for s in range(2, T + 1):
        kl = lambda u, s=s: w.KL(f"q(z{s - 1}|z{s} x)", f"p(z{s - 1}|z{s})", u)  # noqa: E731
        out -= w.E(f"q(z{s}|x)", kl, v) if average else kl(v)
    return out


case(
    H,
    "bound",
    r"\log p(x) \geq \mathbb{E}_{q(z_1|x)}[\log p(x|z_1)] - \mathrm{KL}(q(z_T|x) \| p(z_T)) - \sum_{t=2}^T \mathbb{E}_{q(z_t|x)}[\mathrm{KL}(q(z_{t-1}|z_t,x) \| p(z_{t-1}|z_t))]",
    LP,
    lambda w, v, T, t: hthree(w, v, T),
)
case(
    H,
    "identity",
    r"\mathbb{E}_q\left[\log \frac{p(x, z_{1:T})}{q(z_{1:T}|x)}\right] = \mathbb{E}_{q(z_1|x)}[\log p(x|z_1)] - \mathrm{KL}(q(z_T|x) \| p(z_T)) - \sum_{t=2}^T \mathbb{E}_{q(z_t|x)}[\mathrm{KL}(q(z_{t-1}|z_t,x) \| p(z_{t-1}|z_t))]",
    HELBO,
    lambda w, v, T, t: hthree(w, v, T),
)
case(
    H,
    "refuted",
    r"\log p(x) \geq \mathbb{E}_{q(z_1|x)}[\log p(x|z_1)] - \mathrm{KL}(q(z_T|x) \| p(z_T)) - \sum_{t=2}^T \mathrm{KL}(q(z_{t-1}|z_t,x) \| p(z_{t-1}|z_t))",
    LP,
    lambda w, v, T, t: hthree(w, v, T, False),
    lambda T, t: f"x {Z(2, T)}",
)
case(
    H,
    "bound",
    r"\mathrm{KL}(q(z_T|x) \| p(z_T)) \leq \mathrm{KL}(q(z_{1:T}|x) \| p(z_{1:T}))",
    lambda w, v, T, t: w.KL(f"q(z{T}|x)", f"p(z{T})", v),
    lambda w, v, T, t: w.KL(f"q({Z(1, T)}|x)", f"p({Z(1, T)})", v),
)
case(
    H,
    "refuted",
    r"\mathrm{KL}(q(z_T|x) \| p(z_T)) \geq \mathrm{KL}(q(z_{1:T}|x) \| p(z_{1:T}))",
    lambda w, v, T, t: w.KL(f"q(z{T}|x)", f"p(z{T})", v),
    lambda w, v, T, t: w.KL(f"q({Z(1, T)}|x)", f"p({Z(1, T)})", v),
)
case(
    H,
    "identity",
    r"p(z_{t-1}|z_t) = p(z_{t-1}|z_t, z_{t+1})",
    lambda w, v, T, t: w(f"p(z{t - 1}|z{t})", v),
    lambda w, v, T, t: w(f"p(z{t - 1}|z{t} z{t + 1})", v),
    lambda T, t: Z(t - 1, t + 1),
    lambda T: range(2, T),
)
case(
    H,
    "refuted",
    r"p(z_{t-1}|z_t) = p(z_{t-1}|z_t, x)",
    lambda w, v, T, t: w(f"p(z{t - 1}|z{t})", v),
    lambda w, v, T, t: w(f"p(z{t - 1}|z{t} x)", v),
    lambda T, t: f"x {Z(t - 1, t)}",
    lambda T: range(2, T + 1),
)
case(
    H,
    "identity",
    r"q(z_t|z_{t-1}) = q(z_t|z_{t-1}, x)",
    lambda w, v, T, t: w(f"q(z{t}|z{t - 1})", v),
    lambda w, v, T, t: w(f"q(z{t}|z{t - 1} x)", v),
    lambda T, t: f"x {Z(t - 1, t)}",
    lambda T: range(2, T + 1),
)
case(
    H,
    "identity",
    r"q(z_t|x) = \int q(z_t|z_{t-1}) q(z_{t-1}|x)\,dz_{t-1}",
    lambda w, v, T, t: w(f"q(z{t}|x)", v),
    lambda w, v, T, t: w.sum(f"z{t - 1}", lambda u: w(f"q(z{t}|z{t - 1} x)", u) * w(f"q(z{t - 1}|x)", u), v),
    lambda T, t: f"x z{t}",
    lambda T: range(2, T + 1),
)
case(
    H,
    "identity",
    r"p(x) = \sum_{z_{1:T}} p(x, z_{1:T})",
    lambda w, v, T, t: w("p(x)", v),
    lambda w, v, T, t: w.sum(Z(1, T), lambda u: w(f"p(x {Z(1, T)})", u), v),
)
case(
    H,
    "identity",
    r"\mathbb{E}_{q(z_{1:T}|x)}[\log p(x|z_1)] = \mathbb{E}_{q(z_1|x)}[\log p(x|z_1)]",
    lambda w, v, T, t: w.E(f"q({Z(1, T)}|x)", lambda u: log(w("p(x|z1)", u)), v),
    lambda w, v, T, t: w.E("q(z1|x)", lambda u: log(w("p(x|z1)", u)), v),
)
case(
    H,
    "refuted",
    r"\mathbb{E}_{q(z_{1:T}|x)}[\log p(x|z_1)] = \mathbb{E}_{q(z_T|x)}[\log p(x|z_T)]",
    lambda w, v, T, t: w.E(f"q({Z(1, T)}|x)", lambda u: log(w("p(x|z1)", u)), v),
    lambda w, v, T, t: w.E(f"q(z{T}|x)", lambda u: log(w(f"p(x|z{T})", u)), v),
)
case(
    H,
    "identity",
    r"p(x|z_{1:T}) = p(x|z_1)",
    lambda w, v, T, t: w(f"p(x|{Z(1, T)})", v),
    lambda w, v, T, t: w("p(x|z1)", v),
    FREE,
)
case(
    H,
    "refuted",
    r"p(x|z_{1:T}) = p(x|z_T)",
    lambda w, v, T, t: w(f"p(x|{Z(1, T)})", v),
    lambda w, v, T, t: w(f"p(x|z{T})", v),
    FREE,
)
case(
    H,
    "identity",
    r"q(z_{t-1}|z_t,x) = \frac{q(z_t|z_{t-1}) q(z_{t-1}|x)}{q(z_t|x)}",
    lambda w, v, T, t: w(f"q(z{t - 1}|z{t} x)", v),
    lambda w, v, T, t: w(f"q(z{t}|z{t - 1} x)", v) * w(f"q(z{t - 1}|x)", v) / w(f"q(z{t}|x)", v),
    lambda T, t: f"x {Z(t - 1, t)}",
    lambda T: range(2, T + 1),
)
case(
    H,
    "refuted",
    r"q(z_{t-1}|z_t,x) = \frac{q(z_t|z_{t-1}) q(z_t|x)}{q(z_{t-1}|x)}",
    lambda w, v, T, t: w(f"q(z{t - 1}|z{t} x)", v),
    lambda w, v, T, t: w(f"q(z{t}|z{t - 1} x)", v) * w(f"q(z{t}|x)", v) / w(f"q(z{t - 1}|x)", v),
    lambda T, t: f"x {Z(t - 1, t)}",
    lambda T: range(2, T + 1),
)

# ---- chain: p(x, z_{1:T}) and q(z_{1:T}|x) without independence
C = "chain"
case(C, "bound", r"\log p(x) \geq \mathbb{E}_q\left[\log \frac{p(x, z_{1:T})}{q(z_{1:T}|x)}\right]", LP, HELBO)
case(C, "refuted", r"\log p(x) = \mathbb{E}_q\left[\log \frac{p(x, z_{1:T})}{q(z_{1:T}|x)}\right]", LP, HELBO)
case(
    C,
    "identity",
    r"q(z_{1:T}|x) = \prod_{t=1}^T q(z_t|z_{<t},x)",
    QALL,
    lambda w, v, T, t: prod(w(f"q(z{s}|{Z(1, s - 1)} x)", v) for s in range(1, T + 1)),
    FREE,
)
case(
    C,
    "identity",
    r"p(x, z_{1:T}) = p(x) \prod_{t=1}^T p(z_t|z_{1:t-1},x)",
    JOINT,
    lambda w, v, T, t: w("p(x)", v) * prod(w(f"p(z{s}|{Z(1, s - 1)} x)", v) for s in range(1, T + 1)),
    FREE,
)
case(
    C,
    "refuted",
    r"q(z_{1:T}|x) = q(z_1|x)\prod_{t=2}^T q(z_t|z_{t-1},x)",
    QALL,
    lambda w, v, T, t: w("q(z1|x)", v) * prod(w(f"q(z{s}|z{s - 1} x)", v) for s in range(2, T + 1)),
    FREE,
)
case(
    C,
    "refuted",
    r"p(x,z_{1:T}) = p(z_T) p(x|z_1)\prod_{t=2}^T p(z_{t-1}|z_t)",
    JOINT,
    lambda w, v, T, t: w(f"p(z{T})", v) * w("p(x|z1)", v) * pfac(w, v, T),
    FREE,
)
case(
    C,
    "bound",
    r"\mathrm{KL}(q(z_{1:T}|x) \| p(z_{1:T}|x)) \geq \mathrm{KL}(q(z_1|x) \| p(z_1|x))",
    lambda w, v, T, t: w.KL(f"q({Z(1, T)}|x)", f"p({Z(1, T)}|x)", v),
    lambda w, v, T, t: w.KL("q(z1|x)", "p(z1|x)", v),
)
case(
    C,
    "refuted",
    r"\mathrm{KL}(q(z_{1:T}|x) \| p(z_{1:T}|x)) = \sum_{t=1}^T \mathrm{KL}(q(z_t|x) \| p(z_t|x))",
    lambda w, v, T, t: w.KL(f"q({Z(1, T)}|x)", f"p({Z(1, T)}|x)", v),
    lambda w, v, T, t: sum(w.KL(f"q(z{s}|x)", f"p(z{s}|x)", v) for s in range(1, T + 1)),
)
case(
    C,
    "refuted",
    r"\mathrm{KL}(q(z_{1:T}|x) \| p(z_{1:T}|x)) \geq \sum_{t=1}^T \mathrm{KL}(q(z_t|x) \| p(z_t|x))",
    lambda w, v, T, t: w.KL(f"q({Z(1, T)}|x)", f"p({Z(1, T)}|x)", v),
    lambda w, v, T, t: sum(w.KL(f"q(z{s}|x)", f"p(z{s}|x)", v) for s in range(1, T + 1)),
)
case(
    C,
    "identity",
    r"\log p(x, z_{1:T}) = \log p(z_{1:T}) + \log p(x|z_{1:T})",
    lambda w, v, T, t: log(w(f"p(x {Z(1, T)})", v)),
    lambda w, v, T, t: log(w(f"p({Z(1, T)})", v)) + log(w(f"p(x|{Z(1, T)})", v)),
    FREE,
)
case(
    C,
    "bound",
    r"\log p(x) \geq \mathbb{E}_{q(z_{1:T}|x)}[\log p(x|z_{1:T})] - \mathrm{KL}(q(z_{1:T}|x) \| p(z_{1:T}))",
    LP,
    lambda w, v, T, t: (
        w.E(f"q({Z(1, T)}|x)", lambda u: log(w(f"p(x|{Z(1, T)})", u)), v) - w.KL(f"q({Z(1, T)}|x)", f"p({Z(1, T)})", v)
    ),
)
case(
    C,
    "bound",
    r"\log p(x) \geq \mathbb{E}_{q(z_1|x)}\left[\log \frac{p(x, z_1)}{q(z_1|x)}\right]",
    LP,
    lambda w, v, T, t: w.E("q(z1|x)", lambda u: log(w("p(x z1)", u) / w("q(z1|x)", u)), v),
)
case(
    C,
    "bound",
    r"\mathbb{E}_{q(z_1|x)}\left[\log \frac{p(x, z_1)}{q(z_1|x)}\right] \geq \mathbb{E}_{q(z_{1:T}|x)}\left[\log \frac{p(x, z_{1:T})}{q(z_{1:T}|x)}\right]",
    lambda w, v, T, t: w.E("q(z1|x)", lambda u: log(w("p(x z1)", u) / w("q(z1|x)", u)), v),
    HELBO,
)
case(
    C,
    "refuted",
    r"\mathbb{E}_{q(z_1|x)}\left[\log \frac{p(x, z_1)}{q(z_1|x)}\right] \leq \mathbb{E}_{q(z_{1:T}|x)}\left[\log \frac{p(x, z_{1:T})}{q(z_{1:T}|x)}\right]",
    lambda w, v, T, t: w.E("q(z1|x)", lambda u: log(w("p(x z1)", u) / w("q(z1|x)", u)), v),
    HELBO,
)

# ---- diffusion: q(x_0) prod q(x_t|x_{t-1}), p(x_T) prod p(x_{t-1}|x_t)
D = "diffusion"
PALL = lambda w, v, T, t: w(f"p({X(0, T)})", v)  # noqa: E731
QX = lambda w, v, T, t: w(f"q({X(1, T)}|x0)", v)  # noqa: E731
XALL = lambda T, t: X(0, T)  # noqa: E731
LP0 = lambda w, v, T, t: log(w("p(x0)", v))  # noqa: E731


def delbo(w, v, T):
    return w.E(f"q({X(1, T)}|x0)", lambda u: log(w(f"p({X(0, T)})", u) / w(f"q({X(1, T)}|x0)", u)), v)


def dthree(w, v, T, last=True, right="p(x{a}|x{b})", left="q(x{a}|x{b} x0)", first=2):
    def inside(u):
        out = w.KL(f"q(x{T}|x0)", f"p(x{T})", u) if last else 0.0
        for s in range(first, T + 1):
            out += w.KL(left.format(a=s - 1, b=s), right.format(a=s - 1, b=s), u)
        return out - log(w("p(x0|x1)", u))

    return w.E(f"q({X(1, T)}|x0)", inside, v)


NELBO = lambda w, v, T, t: -delbo(w, v, T)  # noqa: E731
TS1, TS2 = (lambda T: range(1, T + 1)), (lambda T: range(2, T + 1))
case(
    D,
    "identity",
    r"p(x_{0:T}) = p(x_T)\prod_{t=1}^T p(x_{t-1}|x_t)",
    PALL,
    lambda w, v, T, t: w(f"p(x{T})", v) * prod(w(f"p(x{s - 1}|x{s})", v) for s in range(1, T + 1)),
    XALL,
)
case(
    D,
    "refuted",
    r"p(x_{0:T}) = p(x_T)\prod_{t>1} p(x_{t-1}|x_t)",
    PALL,
    lambda w, v, T, t: w(f"p(x{T})", v) * prod(w(f"p(x{s - 1}|x{s})", v) for s in range(2, T + 1)),
    XALL,
)
case(
    D,
    "identity",
    r"q(x_{1:T}|x_0) = \prod_{t=1}^T q(x_t|x_{t-1})",
    QX,
    lambda w, v, T, t: prod(w(f"q(x{s}|x{s - 1})", v) for s in range(1, T + 1)),
    XALL,
)
case(
    D,
    "refuted",
    r"q(x_{1:T}|x_0) = \prod_{t=1}^T q(x_{t-1}|x_t)",
    QX,
    lambda w, v, T, t: prod(w(f"q(x{s - 1}|x{s})", v) for s in range(1, T + 1)),
    XALL,
)
case(
    D,
    "refuted",
    r"q(x_{1:T}|x_0) = \prod_{t=1}^T q(x_t|x_0)",
    QX,
    lambda w, v, T, t: prod(w(f"q(x{s}|x0)", v) for s in range(1, T + 1)),
    XALL,
)
case(
    D,
    "identity",
    r"q(x_{0:T}) = q(x_0) q(x_{1:T}|x_0)",
    lambda w, v, T, t: w(f"q({X(0, T)})", v),
    lambda w, v, T, t: w("q(x0)", v) * w(f"q({X(1, T)}|x0)", v),
    XALL,
)
case(
    D,
    "identity",
    r"q(x_t|x_{t-1}) = q(x_t|x_{t-1},x_0)",
    lambda w, v, T, t: w(f"q(x{t}|x{t - 1})", v),
    lambda w, v, T, t: w(f"q(x{t}|x{t - 1} x0)", v),
    lambda T, t: f"x0 x{t - 1} x{t}",
    TS1,
)
case(
    D,
    "refuted",
    r"q(x_{t-1}|x_t) = q(x_{t-1}|x_t,x_0)",
    lambda w, v, T, t: w(f"q(x{t - 1}|x{t})", v),
    lambda w, v, T, t: w(f"q(x{t - 1}|x{t} x0)", v),
    lambda T, t: f"x0 x{t - 1} x{t}",
    TS2,
)
case(
    D,
    "identity",
    r"q(x_t|x_{t-1}) = \frac{q(x_{t-1}|x_t,x_0) q(x_t|x_0)}{q(x_{t-1}|x_0)}",
    lambda w, v, T, t: w(f"q(x{t}|x{t - 1})", v),
    lambda w, v, T, t: w(f"q(x{t - 1}|x{t} x0)", v) * w(f"q(x{t}|x0)", v) / w(f"q(x{t - 1}|x0)", v),
    lambda T, t: f"x0 x{t - 1} x{t}",
    TS2,
)
case(
    D,
    "refuted",
    r"q(x_t|x_{t-1}) = \frac{q(x_{t-1}|x_t,x_0) q(x_{t-1}|x_0)}{q(x_t|x_0)}",
    lambda w, v, T, t: w(f"q(x{t}|x{t - 1})", v),
    lambda w, v, T, t: w(f"q(x{t - 1}|x{t} x0)", v) * w(f"q(x{t - 1}|x0)", v) / w(f"q(x{t}|x0)", v),
    lambda T, t: f"x0 x{t - 1} x{t}",
    TS2,
)
case(
    D,
    "identity",
    r"q(x_{t-1}|x_t) = \frac{q(x_t|x_{t-1}) q(x_{t-1})}{q(x_t)}",
    lambda w, v, T, t: w(f"q(x{t - 1}|x{t})", v),
    lambda w, v, T, t: w(f"q(x{t}|x{t - 1})", v) * w(f"q(x{t - 1})", v) / w(f"q(x{t})", v),
    lambda T, t: f"x{t - 1} x{t}",
    TS1,
)
case(
    D,
    "identity",
    r"q(x_t|x_0) = \int q(x_t|x_{t-1}) q(x_{t-1}|x_0)\,dx_{t-1}, \quad t \geq 2",
    lambda w, v, T, t: w(f"q(x{t}|x0)", v),
    lambda w, v, T, t: w.sum(f"x{t - 1}", lambda u: w(f"q(x{t}|x{t - 1})", u) * w(f"q(x{t - 1}|x0)", u), v),
    lambda T, t: f"x0 x{t}",
    TS2,
)
case(
    D,
    "refuted",
    r"q(x_t|x_0) = \int q(x_t|x_{t-1}) q(x_{t-1})\,dx_{t-1}",
    lambda w, v, T, t: w(f"q(x{t}|x0)", v),
    lambda w, v, T, t: w.sum(f"x{t - 1}", lambda u: w(f"q(x{t}|x{t - 1})", u) * w(f"q(x{t - 1})", u), v),
    lambda T, t: f"x0 x{t}",
    TS2,
)
case(
    D,
    "identity",
    r"q(x_t) = \int q(x_t|x_0) q(x_0)\,dx_0",
    lambda w, v, T, t: w(f"q(x{t})", v),
    lambda w, v, T, t: w.sum("x0", lambda u: w(f"q(x{t}|x0)", u) * w("q(x0)", u), v),
    lambda T, t: f"x{t}",
    TS1,
)
case(
    D,
    "identity",
    r"p(x_0) = \int p(x_{0:T})\,dx_{1:T}",
    lambda w, v, T, t: w("p(x0)", v),
    lambda w, v, T, t: w.sum(X(1, T), lambda u: w(f"p({X(0, T)})", u), v),
    "x0",
)
case(
    D,
    "identity",
    r"p(x_0) = \int q(x_{1:T}|x_0) \frac{p(x_{0:T})}{q(x_{1:T}|x_0)} \,dx_{1:T}",
    lambda w, v, T, t: w("p(x0)", v),
    lambda w, v, T, t: w.sum(X(1, T), lambda u: w(f"p({X(0, T)})", u), v),
    "x0",
)
case(
    D,
    "identity",
    r"p(x_0) = \int q(x_{1:T}|x_0) p(x_T) \prod_{t=1}^T \frac{p(x_{t-1}|x_t)}{q(x_t|x_{t-1})} \,dx_{1:T}",
    lambda w, v, T, t: w("p(x0)", v),
    lambda w, v, T, t: w.sum(X(1, T), lambda u: w(f"p({X(0, T)})", u), v),
    "x0",
)
case(
    D,
    "bound",
    r"-\log p(x_0) \leq \mathbb{E}_{q(x_{1:T}|x_0)}\left[-\log \frac{p(x_{0:T})}{q(x_{1:T}|x_0)}\right]",
    lambda w, v, T, t: -log(w("p(x0)", v)),
    NELBO,
    "x0",
)
case(
    D,
    "refuted",
    r"-\log p(x_0) \geq \mathbb{E}_{q(x_{1:T}|x_0)}\left[-\log \frac{p(x_{0:T})}{q(x_{1:T}|x_0)}\right]",
    lambda w, v, T, t: -log(w("p(x0)", v)),
    NELBO,
    "x0",
)
case(
    D,
    "bound",
    r"\mathbb{E}_{q(x_0)}[-\log p(x_0)] \leq \mathbb{E}_{q(x_{0:T})}\left[-\log p(x_T) - \sum_{t \geq 1} \log \frac{p(x_{t-1}|x_t)}{q(x_t|x_{t-1})}\right]",
    lambda w, v, T, t: w.E("q(x0)", lambda u: -log(w("p(x0)", u)), v),
    lambda w, v, T, t: w.E("q(x0)", lambda u: -delbo(w, u, T), v),
    "",
)
case(
    D,
    "identity",
    r"\mathbb{E}_{q(x_{1:T}|x_0)}\left[-\log \frac{p(x_{0:T})}{q(x_{1:T}|x_0)}\right] = \mathbb{E}_{q(x_{1:T}|x_0)}\left[\mathrm{KL}(q(x_T|x_0) \| p(x_T)) + \sum_{t>1} \mathrm{KL}(q(x_{t-1}|x_t,x_0) \| p(x_{t-1}|x_t)) - \log p(x_0|x_1)\right]",
    NELBO,
    lambda w, v, T, t: dthree(w, v, T),
    "x0",
)
case(
    D,
    "refuted",
    r"\mathbb{E}_{q(x_{1:T}|x_0)}\left[-\log \frac{p(x_{0:T})}{q(x_{1:T}|x_0)}\right] = \mathbb{E}_{q(x_{1:T}|x_0)}\left[\sum_{t>1} \mathrm{KL}(q(x_{t-1}|x_t,x_0) \| p(x_{t-1}|x_t)) - \log p(x_0|x_1)\right]",
    NELBO,
    lambda w, v, T, t: dthree(w, v, T, False),
    "x0",
)
case(
    D,
    "refuted",
    r"\mathbb{E}_{q(x_{1:T}|x_0)}\left[-\log \frac{p(x_{0:T})}{q(x_{1:T}|x_0)}\right] = \mathbb{E}_{q(x_{1:T}|x_0)}\left[\mathrm{KL}(q(x_T|x_0) \| p(x_T)) + \sum_{t>1} \mathrm{KL}(q(x_{t-1}|x_t) \| p(x_{t-1}|x_t)) - \log p(x_0|x_1)\right]",
    NELBO,
    lambda w, v, T, t: dthree(w, v, T, left="q(x{a}|x{b})"),
    "x0",
)
case(
    D,
    "refuted",
    r"\mathbb{E}_{q(x_{1:T}|x_0)}\left[-\log \frac{p(x_{0:T})}{q(x_{1:T}|x_0)}\right] = \mathbb{E}_{q(x_{1:T}|x_0)}\left[\mathrm{KL}(q(x_T|x_0) \| p(x_T)) + \sum_{t>2} \mathrm{KL}(q(x_{t-1}|x_t,x_0) \| p(x_{t-1}|x_t)) - \log p(x_0|x_1)\right]",
    NELBO,
    lambda w, v, T, t: dthree(w, v, T, first=3),
    "x0",
)
case(
    D,
    "identity",
    r"\log \frac{q(x_{1:T}|x_0)}{q(x_1|x_0)} = \sum_{t=2}^T \log \frac{q(x_{t-1}|x_t,x_0)}{q(x_{t-1}|x_0)} + \sum_{t=2}^T \log q(x_t|x_0)",
    lambda w, v, T, t: log(w(f"q({X(1, T)}|x0)", v) / w("q(x1|x0)", v)),
    lambda w, v, T, t: sum(
        log(w(f"q(x{s - 1}|x{s} x0)", v) / w(f"q(x{s - 1}|x0)", v)) + log(w(f"q(x{s}|x0)", v)) for s in range(2, T + 1)
    ),
    XALL,
)
case(
    D,
    "identity",
    r"\prod_{t=2}^T \frac{q(x_t|x_0)}{q(x_{t-1}|x_0)} = \frac{q(x_T|x_0)}{q(x_1|x_0)}",
    lambda w, v, T, t: prod(w(f"q(x{s}|x0)", v) / w(f"q(x{s - 1}|x0)", v) for s in range(2, T + 1)),
    lambda w, v, T, t: w(f"q(x{T}|x0)", v) / w("q(x1|x0)", v),
    XALL,
)
case(
    D,
    "refuted",
    r"\prod_{t=2}^T \frac{q(x_t|x_0)}{q(x_{t-1}|x_0)} = \frac{q(x_T|x_0)}{q(x_0)}",
    lambda w, v, T, t: prod(w(f"q(x{s}|x0)", v) / w(f"q(x{s - 1}|x0)", v) for s in range(2, T + 1)),
    lambda w, v, T, t: w(f"q(x{T}|x0)", v) / w("q(x0)", v),
    XALL,
)
case(
    D,
    "bound",
    r"\mathrm{KL}(q(x_0) \| p(x_0)) \leq \mathrm{KL}(q(x_{0:T}) \| p(x_{0:T}))",
    lambda w, v, T, t: w.KL("q(x0)", "p(x0)", v),
    lambda w, v, T, t: w.KL(f"q({X(0, T)})", f"p({X(0, T)})", v),
    "",
)
case(
    D,
    "refuted",
    r"\mathrm{KL}(q(x_T|x_0) \| p(x_T)) \leq \mathrm{KL}(q(x_0) \| p(x_0))",
    lambda w, v, T, t: w.KL(f"q(x{T}|x0)", f"p(x{T})", v),
    lambda w, v, T, t: w.KL("q(x0)", "p(x0)", v),
    "x0",
)
case(
    D,
    "bound",
    r"I_q(x_0; x_T) \leq I_q(x_0; x_1)",
    lambda w, v, T, t: w.E("q(x0)", lambda u: w.KL(f"q(x{T}|x0)", f"q(x{T})", u), v),
    lambda w, v, T, t: w.E("q(x0)", lambda u: w.KL("q(x1|x0)", "q(x1)", u), v),
    "",
)
case(
    D,
    "refuted",
    r"I_q(x_0; x_T) \geq I_q(x_0; x_1)",
    lambda w, v, T, t: w.E("q(x0)", lambda u: w.KL(f"q(x{T}|x0)", f"q(x{T})", u), v),
    lambda w, v, T, t: w.E("q(x0)", lambda u: w.KL("q(x1|x0)", "q(x1)", u), v),
    "",
)
case(
    D,
    "bound",
    r"\mathbb{E}_{q(x_0)}[\mathrm{KL}(q(x_T|x_0) \| p(x_T))] \geq \mathrm{KL}(q(x_T) \| p(x_T))",
    lambda w, v, T, t: w.E("q(x0)", lambda u: w.KL(f"q(x{T}|x0)", f"p(x{T})", u), v),
    lambda w, v, T, t: w.KL(f"q(x{T})", f"p(x{T})", v),
    "",
)
case(
    D,
    "identity",
    r"p(x_{t-1}|x_t) = p(x_{t-1}|x_{t:T})",
    lambda w, v, T, t: w(f"p(x{t - 1}|x{t})", v),
    lambda w, v, T, t: w(f"p(x{t - 1}|{X(t, T)})", v),
    lambda T, t: X(t - 1, T),
    TS1,
)
case(
    D,
    "refuted",
    r"p(x_{t-1}|x_t) = p(x_{t-1}|x_t, x_0)",
    lambda w, v, T, t: w(f"p(x{t - 1}|x{t})", v),
    lambda w, v, T, t: w(f"p(x{t - 1}|x{t} x0)", v),
    lambda T, t: f"x0 x{t - 1} x{t}",
    TS2,
)
case(
    D,
    "identity",
    r"\mathbb{E}_{q(x_0)}[\mathrm{KL}(q(x_{1:T}|x_0) \| p(x_{1:T}|x_0))] = \mathrm{KL}(q(x_{0:T}) \| p(x_{0:T})) - \mathrm{KL}(q(x_0) \| p(x_0))",
    lambda w, v, T, t: w.E("q(x0)", lambda u: w.KL(f"q({X(1, T)}|x0)", f"p({X(1, T)}|x0)", u), v),
    lambda w, v, T, t: w.KL(f"q({X(0, T)})", f"p({X(0, T)})", v) - w.KL("q(x0)", "p(x0)", v),
    "",
)

LENGTHS = {"vae": (1,), "hvae": (2, 3, 4), "chain": (2, 3, 4), "diffusion": (2, 3)}
STRICT = {">", "<"}


def relation_of(latex: str) -> str:
    depth = 0
    for i, c in enumerate(latex):
        depth += c == "{"
        depth -= c == "}"
        if depth == 0 and c == "[":
            depth += 100
        if depth >= 100 and c == "]":
            depth -= 100
        if depth == 0:
            for tex, rel in ((r"\geq", ">="), (r"\leq", "<="), ("=", "="), (">", ">"), ("<", "<")):
                if latex.startswith(tex, i):
                    return rel
    raise AssertionError(latex)


def by_hand(c: Case) -> str:
    """identity, bound or refuted, by adding up tables."""
    relation = relation_of(c.latex)
    worst, widest = 0.0, 0.0
    for T in LENGTHS[c.setting]:
        for seed in range(10 if T < 4 else 4):
            w = Hand(c.setting, T, seed, peaked=seed % 2 == 1)
            for t in c.ts(T):
                for v in w.all(c.free(T, t), {}):
                    gap = c.left(w, v, T, t) - c.right(w, v, T, t)
                    size = 1e-9 * (1 + abs(c.left(w, v, T, t)))
                    if abs(gap) <= size:
                        continue
                    widest = max(widest, abs(gap))
                    bad = {"=": True, ">=": gap < 0, ">": gap < 0, "<=": gap > 0, "<": gap > 0}[relation]
                    worst = max(worst, abs(gap) if bad else 0.0)
    if worst:
        return "refuted"
    if relation in STRICT:
        return "refuted"  # equality at q = posterior, checked in test_strict_inequalities
    return "bound" if widest else "identity"


IDS = [f"{i:03d} {c.setting} {c.latex[:60]}" for i, c in enumerate(CASES)]


def test_there_are_enough():
    assert len(CASES) >= 120
    assert len({(c.setting, c.latex) for c in CASES}) == len(CASES)
    assert sum(c.kind == "refuted" for c in CASES) >= 50
    assert sum(c.kind != "refuted" for c in CASES) >= 50


@pytest.mark.parametrize("c", CASES, ids=IDS)
def test_truth_by_hand(c):
    assert by_hand(c) == c.kind


@pytest.mark.parametrize("c", CASES, ids=IDS)
def test_verdict(c):
    verdict = judge(c.latex, c.setting)
    assert verdict.kind == c.kind, str(verdict)
    if c.kind == "refuted":
        assert verdict.counterexample is not None
    elif c.setting != "vae":
        assert verdict.proved_for in ("all T", "all T from 3"), verdict.proved_for
