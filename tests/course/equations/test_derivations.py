r"""Derivations with known wrong lines. Every term stands twice, as LaTeX and added up by hand, so that which relations are
wrong is established without the checker (`test_wrong_lines_by_hand`)."""

import pytest
from by_hand import Hand, X, Z, log, prod

from course.equations import judge, judge_derivation

# ------------------------------------------------------------------------------------ terms: (LaTeX, value by hand)

Q, F = "q(z|x)", r"\mathbb{E}_{q(z|x)}"


def E(w, v, f):
    return w.E(Q, f, v)


VAE = {
    "lp": (r"\log p(x)", lambda w, v, T: log(w("p(x)", v))),
    "int": (r"\log \int p(x,z)\,dz", lambda w, v, T: log(w.sum("z", lambda u: w("p(x z)", u), v))),
    "intq": (r"\log \int q(z|x) \frac{p(x,z)}{q(z|x)}\,dz", lambda w, v, T: log(w.sum("z", lambda u: w("p(x z)", u), v))),
    "logE": (
        rf"\log {F}\left[\frac{{p(x,z)}}{{q(z|x)}}\right]",
        lambda w, v, T: log(E(w, v, lambda u: w("p(x z)", u) / w(Q, u))),
    ),
    "elbo": (
        rf"{F}\left[\log \frac{{p(x,z)}}{{q(z|x)}}\right]",
        lambda w, v, T: E(w, v, lambda u: log(w("p(x z)", u) / w(Q, u))),
    ),
    "upside": (
        rf"{F}\left[\log \frac{{q(z|x)}}{{p(x,z)}}\right]",
        lambda w, v, T: -E(w, v, lambda u: log(w("p(x z)", u) / w(Q, u))),
    ),
    "split": (
        rf"{F}[\log p(x|z)] + {F}\left[\log \frac{{p(z)}}{{q(z|x)}}\right]",
        lambda w, v, T: E(w, v, lambda u: log(w("p(x|z)", u) * w("p(z)", u) / w(Q, u))),
    ),
    "split down": (
        rf"{F}[\log p(x|z)] + {F}\left[\log \frac{{q(z|x)}}{{p(z)}}\right]",
        lambda w, v, T: E(w, v, lambda u: log(w("p(x|z)", u) / w("p(z)", u) * w(Q, u))),
    ),
    "rec-kl": (
        rf"{F}[\log p(x|z)] - D_{{KL}}(q(z|x) \| p(z))",
        lambda w, v, T: E(w, v, lambda u: log(w("p(x|z)", u))) - w.KL(Q, "p(z)", v),
    ),
    "rec+kl": (
        rf"{F}[\log p(x|z)] + D_{{KL}}(q(z|x) \| p(z))",
        lambda w, v, T: E(w, v, lambda u: log(w("p(x|z)", u))) + w.KL(Q, "p(z)", v),
    ),
    "rec-lk": (
        rf"{F}[\log p(x|z)] - D_{{KL}}(p(z) \| q(z|x))",
        lambda w, v, T: E(w, v, lambda u: log(w("p(x|z)", u))) - w.KL("p(z)", Q, v),
    ),
    "rec": (rf"{F}[\log p(x|z)]", lambda w, v, T: E(w, v, lambda u: log(w("p(x|z)", u)))),
    "prior": (r"\mathbb{E}_{p(z)}[\log p(x|z)]", lambda w, v, T: w.E("p(z)", lambda u: log(w("p(x|z)", u)), v)),
    "Elp": (rf"{F}[\log p(x)]", lambda w, v, T: log(w("p(x)", v))),
    "Ebayes": (rf"{F}\left[\log \frac{{p(x,z)}}{{p(z|x)}}\right]", lambda w, v, T: log(w("p(x)", v))),
    "Ebayes wrong": (
        rf"{F}\left[\log \frac{{p(x|z)}}{{p(z|x)}}\right]",
        lambda w, v, T: E(w, v, lambda u: log(w("p(x|z)", u) / w("p(z|x)", u))),
    ),
    "Eone": (rf"{F}\left[\log \frac{{p(x,z) q(z|x)}}{{p(z|x) q(z|x)}}\right]", lambda w, v, T: log(w("p(x)", v))),
    "two": (
        rf"{F}\left[\log \frac{{p(x,z)}}{{q(z|x)}}\right] + {F}\left[\log \frac{{q(z|x)}}{{p(z|x)}}\right]",
        lambda w, v, T: E(w, v, lambda u: log(w("p(x z)", u) / w("p(z|x)", u))),
    ),
    "two log out": (
        rf"{F}\left[\log \frac{{p(x,z)}}{{q(z|x)}}\right] + \log {F}\left[\frac{{q(z|x)}}{{p(z|x)}}\right]",
        lambda w, v, T: E(w, v, lambda u: log(w("p(x z)", u) / w(Q, u))) + log(E(w, v, lambda u: w(Q, u) / w("p(z|x)", u))),
    ),
    "elbo+kl": (
        rf"{F}\left[\log \frac{{p(x,z)}}{{q(z|x)}}\right] + D_{{KL}}(q(z|x) \| p(z|x))",
        lambda w, v, T: E(w, v, lambda u: log(w("p(x z)", u) / w(Q, u))) + w.KL(Q, "p(z|x)", v),
    ),
    "elbo-kl": (
        rf"{F}\left[\log \frac{{p(x,z)}}{{q(z|x)}}\right] - D_{{KL}}(q(z|x) \| p(z|x))",
        lambda w, v, T: E(w, v, lambda u: log(w("p(x z)", u) / w(Q, u))) - w.KL(Q, "p(z|x)", v),
    ),
    "lp-kl": (r"\log p(x) - D_{KL}(q(z|x) \| p(z|x))", lambda w, v, T: log(w("p(x)", v)) - w.KL(Q, "p(z|x)", v)),
    "kl": (r"D_{KL}(q(z|x) \| p(z|x))", lambda w, v, T: w.KL(Q, "p(z|x)", v)),
    "kl def": (rf"{F}\left[\log \frac{{q(z|x)}}{{p(z|x)}}\right]", lambda w, v, T: w.KL(Q, "p(z|x)", v)),
    "kl joint": (
        rf"{F}[\log q(z|x) - \log p(x,z)] + \log p(x)",
        lambda w, v, T: w.KL(Q, "p(z|x)", v),
    ),
    "kl joint -": (
        rf"{F}[\log q(z|x) - \log p(x,z)] - \log p(x)",
        lambda w, v, T: w.KL(Q, "p(z|x)", v) - 2 * log(w("p(x)", v)),
    ),
    "lp-elbo": (
        rf"\log p(x) - {F}\left[\log \frac{{p(x,z)}}{{q(z|x)}}\right]",
        lambda w, v, T: w.KL(Q, "p(z|x)", v),
    ),
    "0": ("0", lambda w, v, T: 0.0),
}

QH = r"\mathbb{E}_{q(z_{1:T}|x)}"


def EH(w, v, T, f):
    return w.E(f"q({Z(1, T)}|x)", f, v)


def _down(w, u, T):
    return w(f"p(z{T})", u) * w("p(x|z1)", u) * prod(w(f"p(z{t - 1}|z{t})", u) for t in range(2, T + 1))


def _up(w, u, T):
    return w("q(z1|x)", u) * prod(w(f"q(z{t}|z{t - 1})", u) for t in range(2, T + 1))


def _three(w, v, T, averaged=True):
    out = w.E("q(z1|x)", lambda u: log(w("p(x|z1)", u)), v) - w.KL(f"q(z{T}|x)", f"p(z{T})", v)
    for t in range(2, T + 1):
        kl = lambda u, t=t: w.KL(f"q(z{t - 1}|z{t} x)", f"p(z{t - 1}|z{t})", u)  # noqa: E731
        out -= w.E(f"q(z{t}|x)", kl, v) if averaged else kl(v)
    return out


HVAE = {
    "lp": VAE["lp"],
    "elbo": (
        rf"{QH}\left[\log \frac{{p(x,z_{{1:T}})}}{{q(z_{{1:T}}|x)}}\right]",
        lambda w, v, T: EH(w, v, T, lambda u: log(w(f"p(x {Z(1, T)})", u) / w(f"q({Z(1, T)}|x)", u))),
    ),
    "factors": (
        rf"{QH}\left[\log \frac{{p(z_T) p(x|z_1) \prod_{{t=2}}^T p(z_{{t-1}}|z_t)}}{{q(z_1|x) \prod_{{t=2}}^T q(z_t|z_{{t-1}})}}\right]",
        lambda w, v, T: EH(w, v, T, lambda u: log(_down(w, u, T) / _up(w, u, T))),
    ),
    "swapped": (
        rf"{QH}\left[\log \frac{{p(z_T) p(x|z_1) \prod_{{t=2}}^T p(z_t|z_{{t-1}})}}{{q(z_1|x) \prod_{{t=2}}^T q(z_{{t-1}}|z_t)}}\right]",
        lambda w, v, T: EH(
            w,
            v,
            T,
            lambda u: log(
                w(f"p(z{T})", u)
                * w("p(x|z1)", u)
                * prod(w(f"p(z{t}|z{t - 1})", u) for t in range(2, T + 1))
                / w("q(z1|x)", u)
                / prod(w(f"q(z{t - 1}|z{t})", u) for t in range(2, T + 1))
            ),
        ),
    ),
    "no prior": (
        rf"{QH}\left[\log \frac{{p(x|z_1) \prod_{{t=2}}^T p(z_{{t-1}}|z_t)}}{{q(z_1|x) \prod_{{t=2}}^T q(z_t|z_{{t-1}})}}\right]",
        lambda w, v, T: EH(w, v, T, lambda u: log(_down(w, u, T) / w(f"p(z{T})", u) / _up(w, u, T))),
    ),
    "bayes": (
        rf"{QH}\left[\log \frac{{p(z_T) p(x|z_1) \prod_{{t=2}}^T p(z_{{t-1}}|z_t)}}{{q(z_T|x) \prod_{{t=2}}^T q(z_{{t-1}}|z_t,x)}}\right]",
        lambda w, v, T: EH(w, v, T, lambda u: log(_down(w, u, T) / _up(w, u, T))),
    ),
    "three": (
        r"\mathbb{E}_{q(z_1|x)}[\log p(x|z_1)] - D_{KL}(q(z_T|x) \| p(z_T))"
        r" - \sum_{t=2}^T \mathbb{E}_{q(z_t|x)}[D_{KL}(q(z_{t-1}|z_t,x) \| p(z_{t-1}|z_t))]",
        lambda w, v, T: _three(w, v, T),
    ),
    "three +": (
        r"\mathbb{E}_{q(z_1|x)}[\log p(x|z_1)] + D_{KL}(q(z_T|x) \| p(z_T))"
        r" - \sum_{t=2}^T \mathbb{E}_{q(z_t|x)}[D_{KL}(q(z_{t-1}|z_t,x) \| p(z_{t-1}|z_t))]",
        lambda w, v, T: _three(w, v, T) + 2 * w.KL(f"q(z{T}|x)", f"p(z{T})", v),
    ),
    "rec": (r"\mathbb{E}_{q(z_1|x)}[\log p(x|z_1)]", lambda w, v, T: w.E("q(z1|x)", lambda u: log(w("p(x|z1)", u)), v)),
}

QD = r"\mathbb{E}_{q(x_{1:T}|x_0)}"


def ED(w, v, T, f):
    return w.E(f"q({X(1, T)}|x0)", f, v)


def _ratio(w, u, T, first=1):
    return log(w(f"p(x{T})", u)) + sum(log(w(f"p(x{t - 1}|x{t})", u) / w(f"q(x{t}|x{t - 1})", u)) for t in range(first, T + 1))


def _ddpm(w, v, T, left="q(x{a}|x{b} x0)"):
    return ED(
        w,
        v,
        T,
        lambda u: (
            w.KL(f"q(x{T}|x0)", f"p(x{T})", u)
            + sum(w.KL(left.format(a=t - 1, b=t), f"p(x{t - 1}|x{t})", u) for t in range(2, T + 1))
            - log(w("p(x0|x1)", u))
        ),
    )


DIFFUSION = {
    "-lp": (r"-\log p(x_0)", lambda w, v, T: -log(w("p(x0)", v))),
    "nelbo": (
        rf"{QD}\left[-\log \frac{{p(x_{{0:T}})}}{{q(x_{{1:T}}|x_0)}}\right]",
        lambda w, v, T: -ED(w, v, T, lambda u: _ratio(w, u, T)),
    ),
    "sum": (
        rf"{QD}\left[-\log p(x_T) - \sum_{{t\geq1}} \log \frac{{p(x_{{t-1}}|x_t)}}{{q(x_t|x_{{t-1}})}}\right]",
        lambda w, v, T: -ED(w, v, T, lambda u: _ratio(w, u, T)),
    ),
    "sum t>1": (
        rf"{QD}\left[-\log p(x_T) - \sum_{{t>1}} \log \frac{{p(x_{{t-1}}|x_t)}}{{q(x_t|x_{{t-1}})}}\right]",
        lambda w, v, T: -ED(w, v, T, lambda u: _ratio(w, u, T, 2)),
    ),
    "first apart": (
        rf"{QD}\left[-\log p(x_T) - \sum_{{t>1}} \log \frac{{p(x_{{t-1}}|x_t)}}{{q(x_t|x_{{t-1}})}} - \log \frac{{p(x_0|x_1)}}{{q(x_1|x_0)}}\right]",
        lambda w, v, T: -ED(w, v, T, lambda u: _ratio(w, u, T)),
    ),
    "bayes": (
        rf"{QD}\left[-\log p(x_T) - \sum_{{t>1}} \log \left(\frac{{p(x_{{t-1}}|x_t)}}{{q(x_{{t-1}}|x_t,x_0)}}"
        r" \frac{q(x_{t-1}|x_0)}{q(x_t|x_0)}\right) - \log \frac{p(x_0|x_1)}{q(x_1|x_0)}\right]",
        lambda w, v, T: -ED(w, v, T, lambda u: _ratio(w, u, T)),
    ),
    "telescoped": (
        rf"{QD}\left[-\log \frac{{p(x_T)}}{{q(x_T|x_0)}} - \sum_{{t>1}} \log \frac{{p(x_{{t-1}}|x_t)}}{{q(x_{{t-1}}|x_t,x_0)}} - \log p(x_0|x_1)\right]",
        lambda w, v, T: -ED(w, v, T, lambda u: _ratio(w, u, T)),
    ),
    "telescoped without x0": (
        rf"{QD}\left[-\log \frac{{p(x_T)}}{{q(x_T|x_0)}} - \sum_{{t>1}} \log \frac{{p(x_{{t-1}}|x_t)}}{{q(x_{{t-1}}|x_t)}} - \log p(x_0|x_1)\right]",
        lambda w, v, T: ED(
            w,
            v,
            T,
            lambda u: (
                -log(w(f"p(x{T})", u) / w(f"q(x{T}|x0)", u))
                - log(w("p(x0|x1)", u))
                - sum(log(w(f"p(x{t - 1}|x{t})", u) / w(f"q(x{t - 1}|x{t})", u)) for t in range(2, T + 1))
            ),
        ),
    ),
    "ddpm": (
        rf"{QD}\left[D_{{KL}}(q(x_T|x_0) \| p(x_T)) + \sum_{{t>1}} D_{{KL}}(q(x_{{t-1}}|x_t,x_0) \| p(x_{{t-1}}|x_t)) - \log p(x_0|x_1)\right]",
        lambda w, v, T: _ddpm(w, v, T),
    ),
    "ddpm without x0": (
        rf"{QD}\left[D_{{KL}}(q(x_T|x_0) \| p(x_T)) + \sum_{{t>1}} D_{{KL}}(q(x_{{t-1}}|x_t) \| p(x_{{t-1}}|x_t)) - \log p(x_0|x_1)\right]",
        lambda w, v, T: _ddpm(w, v, T, "q(x{a}|x{b})"),
    ),
    "no last": (
        rf"{QD}\left[\sum_{{t>1}} D_{{KL}}(q(x_{{t-1}}|x_t,x_0) \| p(x_{{t-1}}|x_t)) - \log p(x_0|x_1)\right]",
        lambda w, v, T: _ddpm(w, v, T) - w.KL(f"q(x{T}|x0)", f"p(x{T})", v),
    ),
}

TERMS = {"vae": VAE, "hvae": HVAE, "chain": HVAE, "diffusion": DIFFUSION}
TEX = {"=": "=", ">=": r"\geq", "<=": r"\leq"}

# (setting, terms and relations in turn, wrong relations)
DERIVATIONS = {
    "Jensen": ("vae", "lp = int = intq = logE >= elbo = split = rec-kl", []),
    "Jensen with =": ("vae", "lp = int = intq = logE = elbo = rec-kl", [4]),
    "Jensen turned": ("vae", "lp = int = logE <= elbo", [3]),
    "exact": ("vae", "lp = Elp = Ebayes = Eone = two = elbo+kl >= elbo", []),
    "homework 1 inside a derivation": ("vae", "lp = Elp = Ebayes = Eone = two log out >= elbo", [4]),
    "two errors that compensate": ("vae", "lp = logE >= elbo = split down = rec-kl", [3, 4]),
    "sign of the KL": ("vae", "lp >= elbo = split = rec+kl", [3]),
    "sign of the KL, then built upon": ("vae", "lp >= elbo = split down = rec+kl >= rec", [2]),
    "order of the KL": ("vae", "lp >= elbo = rec-lk", [2]),
    "prior forgotten in Bayes": ("vae", "lp = Elp = Ebayes wrong", [2]),
    "fraction upside down": ("vae", "lp = logE >= upside", [2]),
    "both directions": ("vae", "elbo <= lp >= prior", []),
    "wrong both ways": ("vae", "elbo = lp = elbo-kl", [1, 2]),
    "gap": ("vae", "kl = kl def = kl joint = lp-elbo >= 0", []),
    "gap with a sign": ("vae", "kl = kl def = kl joint - = lp-elbo >= 0", [2, 3]),
    "gap below zero": ("vae", "lp-elbo = kl <= 0", [2]),
    "elbo from the gap": ("vae", "elbo = lp-kl <= lp = elbo+kl", []),
    "reconstruction alone": ("vae", "lp >= rec-kl = elbo <= rec", []),
    "reconstruction is no bound": ("vae", "rec <= lp = elbo+kl", [1]),
    "hierarchical": ("hvae", "lp >= elbo = factors = bayes = three", []),
    "homework 2 as printed": ("hvae", "lp = elbo = swapped", [1, 2]),
    "homework 2 as handed in": ("hvae", "lp = factors", [1]),
    "homework 2, directions put right only": ("hvae", "lp = elbo = factors = three", [1]),
    "prior dropped": ("hvae", "lp >= elbo = no prior", [2]),
    "sign of the last KL": ("hvae", "lp >= factors = bayes = three + <= rec", [3, 4]),
    "no Markov, no factors": ("chain", "lp >= elbo = factors", [2]),
    "DDPM, appendix A": ("diffusion", "-lp <= nelbo = sum = first apart = bayes = telescoped = ddpm", []),
    "DDPM with t>1 for t>=1": ("diffusion", "-lp <= nelbo = sum t>1 = first apart = telescoped", [2, 3]),
    "DDPM without x_0": ("diffusion", "-lp <= sum = telescoped without x0 = ddpm without x0", [2, 3]),
    "DDPM last term lost": ("diffusion", "-lp <= telescoped = no last", [2]),
    "DDPM =": ("diffusion", "-lp = nelbo = ddpm", [1]),
}


def parts(text, setting):
    """The names and relations of a derivation."""
    terms, relations, rest = [], [], text
    names = sorted(TERMS[setting], key=len, reverse=True)
    while rest:
        name = next(n for n in names if rest == n or (rest.startswith(f"{n} ") and rest[len(n) + 1 :].split(" ")[0] in TEX))
        terms.append(name)
        rest = rest[len(name) + 1 :]
        if rest:
            relation, _, rest = rest.partition(" ")
            relations.append(relation)
    return terms, relations


def latex_of(text, setting):
    terms, relations = parts(text, setting)
    rows = [f"{TERMS[setting][terms[0]][0]} &{TEX[relations[0]]} {TERMS[setting][terms[1]][0]}"]
    rows += [f"&{TEX[r]} {TERMS[setting][t][0]}" for r, t in zip(relations[1:], terms[2:], strict=True)]
    return "\\begin{aligned}\n" + " \\\\\n".join(rows) + "\n\\end{aligned}"


@pytest.mark.parametrize("name", DERIVATIONS)
def test_wrong_lines_by_hand(name):
    setting, text, wrong = DERIVATIONS[name]
    terms, relations = parts(text, setting)
    free = {"vae": "x", "hvae": "x", "chain": "x", "diffusion": "x0"}[setting]
    found = set()
    for T in (1,) if setting == "vae" else (2, 3):
        for seed in range(8):
            w = Hand(setting, T, seed, peaked=seed % 2 == 1)
            for v in w.all(free, {}):
                values = [TERMS[setting][t][1](w, v, T) for t in terms]
                for n, r in enumerate(relations):
                    gap = values[n] - values[n + 1]
                    if abs(gap) > 1e-9 and (r == "=" or (gap < 0) == (r == ">=")):
                        found.add(n + 1)
    assert sorted(found) == wrong


@pytest.mark.parametrize("name", DERIVATIONS)
def test_derivation(name):
    setting, text, wrong = DERIVATIONS[name]
    d = judge_derivation(latex_of(text, setting), setting)
    assert d.wrong_steps == wrong, str(d)
    assert d.holds == (not wrong), str(d)
    assert [s.number for s in d.steps] == list(range(1, len(parts(text, setting)[1]) + 1))
    assert not d.undecided_steps
    for s in d.steps:
        assert (s.verdict.counterexample is not None) == (s.kind == "refuted")


def test_there_are_enough():
    assert len(DERIVATIONS) >= 25


def conclusion(name):
    setting, text, _ = DERIVATIONS[name]
    return judge_derivation(latex_of(text, setting), setting)


def test_equalities_and_inequalities_combine():
    d = conclusion("Jensen")
    assert d.conclusion.startswith(r"proved: \log p(x) \geq ")
    assert "nothing follows" in conclusion("both directions").conclusion
    assert "nothing follows" in conclusion("reconstruction alone").conclusion
    d = conclusion("elbo from the gap")
    assert d.conclusion.startswith("proved: ")
    assert r"\leq" in d.conclusion


def test_compensating_errors_are_reported():
    d = conclusion("two errors that compensate")
    assert d.compensating
    assert not d.holds
    assert "steps 3, 4 are wrong, yet the end result is true" in d.conclusion
    assert not conclusion("Jensen with =").compensating


def test_each_line_is_judged_from_the_students_own_line():
    d = conclusion("sign of the KL, then built upon")
    assert [s.kind for s in d.steps] == ["bound", "refuted", "identity", "bound"]


def test_what_remains_true_is_said():
    assert r"true is \log p(x) \geq" in conclusion("Jensen with =").conclusion


def test_positions_are_those_of_the_relations():
    d = judge_derivation("p(x) &= \\int p(x,z) dz \\\\\n     &= \\int p(x|z) p(x) dz")
    assert [s.position for s in d.steps] == [(1, 7), (2, 7)]
    assert d.wrong_steps == [2]


def test_rows_with_their_own_left_side_are_counted_through():
    d = judge_derivation(
        r"\begin{aligned} p(x,z) &= p(x|z) p(z) \\ p(x,z) &= p(x) p(z) \\ p(x) &= \int p(x,z) dz \end{aligned}"
    )
    assert [s.kind for s in d.steps] == ["identity", "refuted", "identity"]
    assert d.wrong_steps == [2]


def test_a_definition_is_used_in_later_lines():
    d = judge_derivation(
        r"\mathcal{L} &:= \mathbb{E}_{q(z|x)}[\log p(x,z) - \log q(z|x)] \\ \log p(x) &\geq \mathcal{L} \\ \log p(x) &= \mathcal{L}"
    )
    assert [s.kind for s in d.steps] == ["definition", "bound", "refuted"]


def test_an_unreadable_derivation_says_where():
    d = judge_derivation("p(x) &= \\int p(x,z) dz \\\\\n &= \\frac{p(x)}{")
    assert not d.holds
    assert d.error.kind == "unreadable"
    assert d.error.position == (2, 16)
    assert d.steps == ()


def test_homework_two_printed_form_names_the_undefined_conditional():
    v = judge(
        r"\log p(x) = \mathbb{E}_q \left[ \log \frac{p(z_T) p(x | z_1) \prod_{t=2}^T p(z_t | z_{t-1})}"
        r"{q(z_1 | x) \prod_{t=2}^T q(z_{t-1} | z_t)} \right]",
        "hvae",
    )
    assert v.kind == "refuted"
    assert "not defined without x" in v.reason
    assert any(r"\geq" in a and r"p(z_{t-1} \mid z_t)" in a and r"q(z_t \mid z_{t-1})" in a for a, _ in v.repairs)
