"""The quotient of both sides of a refuted statement: which variables it still depends on, and whether it is one known density;
then that factor is missing."""

from __future__ import annotations

from itertools import combinations

from course.equations.meaning.ground import shown
from course.equations.meaning.problems import NotDecidable
from course.equations.meaning.settings import Model
from course.equations.search.proof import Form, Normaliser, factor_variables, plus


def ratio(model: Model, n: Normaliser, instance) -> list[str]:
    """Sentences on the quotient of both sides of a product statement."""
    try:
        form = plus(n.form(("log", instance.left)), n.form(("log", instance.right)), -1)
    except NotDecidable:
        return []
    if not form or any(b or m or len(logs) != 1 or next(iter(logs))[0][0] != "m" for b, m, logs in form):
        return []
    variables = sorted({v for _, _, logs in form for f, _ in logs for v in factor_variables(f)}, key=lambda v: (v[1], v[0]))
    names = ", ".join(shown(v) for v in variables)
    out = [f"the ratio of both sides still depends on {names}" + (f" (T = {instance.T})" if model.setting.indexed else "")]
    found = _density_with(form, n, variables)
    if found:
        out.append(found)
    return out


def _density_with(form: Form, n: Normaliser, variables) -> str:
    for letter in n.model.letters:
        for size in range(1, min(4, len(variables)) + 1):
            for vs in combinations(variables, size):
                for k in range(size):
                    for given in combinations(vs, k):
                        args = frozenset(vs) - frozenset(given)
                        want: Form = {}
                        for f, e in n.density(letter, args, frozenset(given)).items():
                            want = plus(want, {(frozenset(), frozenset(), frozenset([(f, 1)])): e})
                        text = (
                            f"{letter}({', '.join(map(shown, sorted(args)))}"
                            + (f"|{', '.join(map(shown, given))}" if given else "")
                            + ")"
                        )
                        if want == form:
                            return f"the factor {text} is missing on the right"
                        if {t: -c for t, c in want.items()} == form:
                            return f"the factor {text} is missing on the left"
    return ""
