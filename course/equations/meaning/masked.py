r"""Masked (absorbing) diffusion over a finite alphabet: a word is kept, or replaced by the mask m and never seen again.

x_0, x_s, x_t and m are one-hot vectors, and a law of a word is the vector of its probabilities, Cat(x_t; pi) (Austin et al. 2021; Sahoo
et al. 2024). With alpha_t, falling from alpha_0 = 1, the probability that a word is still there at t:

    q(x_t | x_s) = Cat(x_t; (alpha_t / alpha_s) x_s + (1 - alpha_t / alpha_s) m)           for s < t
    q(x_s | x_t = m, x_0) = Cat(x_s; ((alpha_s - alpha_t) x_0 + (1 - alpha_s) m) / (1 - alpha_t))     by Bayes' rule
    q(x_s | x_t = x_0, x_0) = Cat(x_s; x_0)                                                 what is still there was never masked
    p_theta(x_s | x_t)   the same with a network's probabilities x_theta(x_t) in place of x_0

alpha_{t|s} is alpha_t / alpha_s. q(x_t = m | x_0) is a number, the probability of that word, and p_theta(x_0 | x_t) the one that the
network gives to the word of the data. The data are not m. One term of the NELBO is the divergence of the second law from the last:
-(alpha_s - alpha_t) / (1 - alpha_t) log p_theta(x_0 | x_t = m), and nothing where x_t is not masked.
"""

from __future__ import annotations

from dataclasses import dataclass

from course.equations.meaning.closed_forms import (
    LETTERS,
    START,
    T0,
    Line,
    Meaning,
    NotSaid,
    Scalar,
    Vector,
    learned,
    name_of,
    rank,
)
from course.equations.reading import tree
from course.equations.reading.tree import KL, Apply, Density, Expect, Func, Index, Node, Sym

MASK = "m"


@dataclass(frozen=True)
class Masked:
    """The way to read a text about masked diffusion; the same questions as paths.Path answers."""

    said: str = ""
    only: str = ""
    positive: tuple[str, ...] = ()
    range: str = "every s < t"

    def both(self, left: Node, right: Node) -> tuple[Node, Node]:
        return left, right

    def normal(self, node: Node) -> Node:
        return node

    def check(self) -> None:
        """Nothing is declared that could be wrong."""

    @staticmethod
    def knows(name: Node) -> bool:
        head = name.head if isinstance(name, Apply) else name
        return not isinstance(head, Sym) or head.name in ("x", "alpha", MASK, "Cat")

    @staticmethod
    def is_time(s: Sym) -> bool:
        return s.name in LETTERS and not s.sub and not s.marks and not s.labels


class MaskedMeaning(Meaning):
    """The values of formulas about masked words: vectors of probabilities over the words that a line names."""

    def __init__(self, line: Node, algebra, world: bool = False, **options):
        self.sense = line.sense if isinstance(line, Line) else self.sense
        self.world, self.main, self.origin = world, T0, START
        symbols = [n for n in tree.walk(line) if isinstance(n, Sym)]
        places = {i for s in symbols if s.name in ("x", "alpha") for i in self._indices(s)}
        if unknown := {i.var for i in places} - LETTERS.keys():
            raise NotSaid(f"{min(unknown)} is not an index of this setting (s, t, T are)")
        if any(not i.var and i.shift < 0 for i in places):
            raise NotSaid("an index is negative")
        self.points = sorted((i for i in places if i != START), key=rank)
        self.numbers = self.dimension_one = False
        self.free = sorted({tree.latex(s) for s in symbols if not self.sense.path.knows(s) and not self.sense.path.is_time(s)})
        self.events = {(s.sub[0], _event(s)) for s in symbols if s.name == "x" and len(s.sub) == 1 and _event(s)}
        laws = [n for n in tree.walk(line) if isinstance(n, Density) and n.letter == "p" and len(n.given) == 1 and n.given[0].sub]
        self.guesses = {self._seen(n.given[0]): f"odds of x_0 given {tree.latex(n.given[0])}" for n in laws}
        self.words: set[str] = set()  # whose laws the line is about
        if any(isinstance(n, KL | Func) for n in tree.walk(line)):
            options = {"logs": True, **options}
        names = (*(f"g{i}" for i in range(len(self.points))), *sorted(self.guesses.values()))
        self.k = algebra(names, tuple(self.free), **options)
        self.networks, self.points_of_networks, self.open, self.scores = {}, [], {}, {}
        self.used, self.marked, self.eta, self.noises, self.tied, self.determined = set(), False, False, [], None, True

    @staticmethod
    def _indices(s: Sym) -> list[Index]:
        """The steps that a symbol speaks of; alpha_{t|s} of two."""
        pairs = [Index(v, 0) for x in s.labels for v in x.split("|") if "|" in x]
        return [*(i for i in s.sub if isinstance(i, Index)), *pairs]

    def shown_times(self) -> dict[str, str]:
        """The probabilities at a point, for a counterexample."""
        kept = {tree.latex(Sym("alpha", (i,))): str(self.k.exact(self.bar(i))) for i in self.points}
        chances = {}
        for name in self.guesses.values():
            chances[f"p_theta(x_0 | {name.removeprefix('odds of x_0 given ')})"] = str(self.k.exact(self._chance(name)))
        return {"words": "counted as numbers, for a law is a linear combination of them", **kept, **chances}

    def _seen(self, word: Sym) -> tuple:
        """A given word with what is said of it: by itself, or by the only other place that says something of it."""
        said = [e for i, e in sorted(self.events, key=str) if i == word.sub[0]]
        return word.sub[0], _event(word) or (said[0] if len(said) == 1 else "")

    def _chance(self, name: str):
        """A probability that the network gives, between 0 and 1."""
        return self.k.divide(self.k.one, self.k.one + self.k[name])

    def _sym(self, s: Sym, args: tuple[Node, ...] = ()):
        if s.name == "alpha" and not s.marks and not args:
            later, *earlier = self._indices(s) or [T0]
            return self.scalar(self.between(earlier[0] if earlier else START, later))
        if s.name == "x" and learned(s) is not None:
            at = next((i for a in args if isinstance(a, Sym) and a.name == "x" for i in a.sub[:1] if isinstance(i, Index)), T0)
            return Vector({_guess(at): self.k.one})
        if args:
            raise NotSaid(f"{tree.latex(s)} is not a function that this setting declares")
        if s.name == "x" and len(s.sub) == 1 and isinstance(s.sub[0], Index) and not s.marks and not s.labels:
            return Vector({name_of("x", s.sub[0]): self.k.one})
        if s == Sym(MASK):
            return Vector({MASK: self.k.one})
        if tree.latex(s) not in self.k:
            raise NotSaid(f"{tree.latex(s)} has no meaning in this setting")
        return self.scalar(self.k[tree.latex(s)])

    def _apply(self, node: Apply):
        if node.head == Sym("Cat") and len(node.args) in (1, 2):
            if len(node.args) == 2:
                self._about(node.args[0])
            return self.value(node.args[-1])
        return self._sym(node.head, node.args)

    def _density(self, d: Density):
        if len(d.args) != 1 or d.args[0].name != "x" or len(d.args[0].sub) != 1:
            raise NotSaid("the law of one word is needed here")
        (word,) = d.args
        if d.letter == "p" and word == Sym("x", (START,)) and len(d.given) == 1 and d.given[0].sub:
            return self.scalar(self._chance(self.guesses[self._seen(d.given[0])]))
        if not _event(word):
            self._about(word)
        law = self._law_of_word(word, d)
        if not (event := _event(word)):
            return law
        return self.scalar(law.parts.get(MASK if event == MASK else "x_0", self.k.zero))

    def _about(self, word: Node) -> None:
        """One line is about the law of one word: Cat(x_s; ...) is no law of x_t."""
        self.words.add(tree.latex(word))
        if len(self.words) > 1:
            raise NotSaid(f"laws of different words: {' and '.join(sorted(self.words))}")

    def _kl(self, node: KL) -> Scalar:
        """The divergence of q(x_s | x_t = m, x_0) from the network's law of x_s, and the like."""
        k, total = self.k, self.k.zero
        left, right = (self.value(n) for n in (node.left, node.right))
        if not all(isinstance(v, Vector) for v in (left, right)):
            raise NotSaid("a divergence of two laws of one word is needed here")
        guess = next((n for n in right.parts if n not in (MASK, "x_0")), None)
        chances = {n: c for n, c in right.parts.items() if n != guess}
        if guess is not None:
            named = next((name for (i, event), name in self.guesses.items() if _guess(i) == guess and event == MASK), None)
            if named is None or "x_0" in chances:
                raise NotSaid(f"the probability that {guess} gives to x_0")
            chances["x_0"] = right.parts[guess] * self._chance(named)
        if left.parts.keys() - {MASK, "x_0"} or not left.parts.keys() <= chances.keys():
            raise NotSaid("a divergence between laws of these words")
        for n, c in left.parts.items():
            total = total + c * (k.log(c) - k.log(chances[n]))
        return self.scalar(total)

    def _expect(self, node: Expect):
        if node.laws or not node.given or not isinstance(node.body, Sym):
            raise NotSaid("an average of one word, given others, is needed here")
        return self._law_of_word(node.body, Density("q", (node.body,), node.given))

    def _law_of_word(self, word: Sym, d: Density) -> Vector:
        """The probabilities of a word given others: the nearest earlier one and the nearest later one matter."""
        (i,) = word.sub
        given = {j: s for s in d.given if s.name == "x" and len(s.sub) == 1 for j in s.sub if isinstance(j, Index)}
        if not isinstance(i, Index) or len(given) != len(d.given) or i in given:
            raise NotSaid(f"{tree.latex(d)}: the words of this setting are x_0, ..., x_t")
        below = max((j for j in given if rank(j) < rank(i)), key=rank, default=None)
        above = min((j for j in given if rank(j) > rank(i)), key=rank, default=None)
        source = None if below is None else Vector({MASK if _event(given[below]) == MASK else name_of("x", below): self.k.one})
        if d.letter == "p" and below is None and above is not None:
            below, source = START, Vector({_guess(above): self.k.one})
        if below is None or source is None:
            raise NotSaid(f"{tree.latex(d)} depends on how frequent words are, which is left open here")
        mask = Vector({MASK: self.k.one})
        if above is None:
            kept = self.between(below, i)
        elif _event(given[above]) == MASK:
            whole = self.bar(below) - self.bar(above)
            kept = self.k.divide(self.bar(i) - self.bar(above), whole)
        elif _event(given[above]) == "x_0" and below == START:
            kept = self.k.one
        else:
            seen = name_of("x", above)
            raise NotSaid(f"whether {seen} is masked is not said: write {seen} = m or {seen} = x_0")
        return self.combine((kept, source), (self.k.one - kept, mask))

    def number(self, value) -> object:
        if not isinstance(value, Scalar):
            raise NotSaid("a number is needed here, without words")
        return super().number(value)


def _guess(at: Index) -> str:
    return rf"x_\theta({name_of('x', at)})"


def _event(word: Sym) -> str:
    """m where a word is said to be the mask (x_t = m), x_0 where it is said to be the data's, "" where nothing is said."""
    return next((x[1:] for x in word.labels if x.startswith("=")), "")
