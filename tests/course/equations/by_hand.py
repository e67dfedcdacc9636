"""Small random worlds, added up by hand: nothing of the checker is used here."""

import itertools
import math
import random


class Hand:
    """A random world: full joint tables of p and q as dictionaries. Variables have different numbers of values."""

    def __init__(self, setting: str, T: int, seed: int, peaked: bool = False):
        r = random.Random(f"{setting} {T} {seed}")
        weight = (lambda: r.choice([1, 1, 2, 30])) if peaked else (lambda: r.uniform(0.3, 3))
        latents = ["z"] if setting == "vae" else [f"z{i}" for i in range(1, T + 1)]
        names = [f"x{i}" for i in range(T + 1)] if setting == "diffusion" else ["x", *latents]
        self.size = {n: (3 if n in ("z", "z1", "x1") and T < 4 else 2) for n in names}
        self.names = names

        def table(free, given):
            out = {}
            for g in itertools.product(*(range(self.size[n]) for n in given)):
                cells = list(itertools.product(*(range(self.size[n]) for n in free)))
                w = [weight() for _ in cells]
                for c, x in zip(cells, w, strict=True):
                    out[c + g] = x / sum(w)
            return free + given, out

        if setting == "vae":
            p, q = [table(["x", "z"], [])], [table(["x"], []), table(["z"], ["x"])]
        elif setting == "chain":
            p, q = [table(names, [])], [table(["x"], []), table(latents, ["x"])]
        else:
            line = names if setting == "diffusion" else ["x", *latents]
            p = [table([line[-1]], [])] + [table([a], [b]) for a, b in itertools.pairwise(line)]
            q = [table([line[0]], [])] + [table([b], [a]) for a, b in itertools.pairwise(line)]
        self.joint = {"p": self._multiply(p), "q": self._multiply(q)}
        self.memory = {}

    def _multiply(self, tables):
        out = {}
        for cell in itertools.product(*(range(self.size[n]) for n in self.names)):
            v = dict(zip(self.names, cell, strict=True))
            x = 1.0
            for names, t in tables:
                x *= t[tuple(v[n] for n in names)]
            out[cell] = x
        return out

    def marginal(self, letter, names):
        key = (letter, names)
        if key not in self.memory:
            at = [self.names.index(n) for n in names]
            total = {}
            for cell, x in self.joint[letter].items():
                k = tuple(cell[i] for i in at)
                total[k] = total.get(k, 0.0) + x
            self.memory[key] = total
        return self.memory[key]

    def __call__(self, density, v):
        """The value of a density such as "q(z1 z2|x)" at the assignment v."""
        letter, inside = density[0], density[2:-1]
        args, _, given = inside.partition("|")
        given = tuple(sorted(set(given.split())))
        both = tuple(sorted(set(args.split()) | set(given)))
        top = self.marginal(letter, both)[tuple(v[n] for n in both)]
        return top / self.marginal(letter, given)[tuple(v[n] for n in given)] if given else top

    def all(self, names, v):
        names = names.split()
        for cell in itertools.product(*(range(self.size[n]) for n in names)):
            yield {**v, **dict(zip(names, cell, strict=True))}

    def sum(self, names, f, v):
        return sum(f(u) for u in self.all(names, v))

    def E(self, law, f, v):
        return self.sum(law[2:-1].partition("|")[0], lambda u: self(law, u) * f(u), v)

    def KL(self, a, b, v):
        return self.E(a, lambda u: math.log(self(a, u) / self(b, u)), v)


def log(x):
    return math.log(x)


def Z(a, b):
    return " ".join(f"z{i}" for i in range(a, b + 1))


def X(a, b):
    return " ".join(f"x{i}" for i in range(a, b + 1))


def prod(terms):
    return math.prod(terms)
