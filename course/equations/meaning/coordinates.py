r"""Lines about vectors with independent coordinates, such as the closed form of a variational autoencoder's divergence:

    KL(N(mu, diag(sigma^2)) || N(0, I)) = 1/2 \sum_{j=1}^J (mu_j^2 + sigma_j^2 - 1 - log sigma_j^2)

Both sides are sums over the J coordinates: the divergence of laws with independent coordinates is, a squared norm is, J is a sum of
ones. If the line holds for one coordinate, whatever its mean and variance, it holds for any number of them; where it fails for one, it
is false for J = 1. `one_coordinate` writes that line of one coordinate, for the Gaussian setting with d = 1.
"""

from __future__ import annotations

from fractions import Fraction

from course.equations.meaning.closed_forms import NotSaid
from course.equations.reading.tree import (
    KL,
    Add,
    Apply,
    Big,
    Div,
    Func,
    Index,
    Mul,
    Neg,
    Node,
    Normal,
    Num,
    Pow,
    Sym,
    latex,
    rebuild,
    walk,
)

COUNTS = ("J", "D", "d", "K", "k", "n")  # letters for the number of coordinates
VECTORS = ("m", "u", "h")  # names of the means in the line of one coordinate
ONE = Num(Fraction(1))
SUMS = "the coordinates are independent: both sides are sums over them, and the line holds in each"


def one_coordinate(left: Node, right: Node) -> tuple[Node, Node, dict[str, str]] | None:
    """The line for one coordinate, and how its letters are written in the text, if both sides are sums over coordinates and one of
    them is written as such; else None."""
    nodes = [n for side in (left, right) for n in walk(side)]
    sums = [n for n in nodes if isinstance(n, Big)]
    if not sums or not any(isinstance(n, KL) for n in nodes) or not all(_over_coordinates(n) for n in sums):
        return None
    counted = {n.name for n in nodes if isinstance(n, Sym) and n.name in COUNTS and not n.sub}
    if len(counted | {n.high.var for n in sums if n.high is not None}) > 1:
        return None
    names: dict[str, Sym] = {}
    try:
        one = _share(left, names), _share(right, names)
    except NotSaid:
        return None
    return (*one, {latex(new): f"{written}_1" for written, new in names.items()})


def _over_coordinates(n: Big) -> bool:
    high = n.high is None or (n.high.var in COUNTS and not n.high.shift)
    return n.kind == "sum" and high and (n.low is None or n.low == Index("", 1)) and n.var in ("i", "j", "k", "d", "l")


def _share(node: Node, names: dict[str, Sym]) -> Node:
    """What one coordinate adds to a formula that is a sum over coordinates. Raises NotSaid where it is none."""
    match node:
        case Add(terms):
            return Add(tuple(_share(t, names) for t in terms))
        case Neg(body):
            return Neg(_share(body, names))
        case Div(top, Num() as bottom):
            return Div(_share(top, names), bottom)
        case Mul(factors):
            rest = [f for f in factors if not isinstance(f, Num)]
            if len(rest) != 1:
                raise NotSaid("a product of sums over coordinates")
            return Mul(tuple(f if isinstance(f, Num) else _share(f, names) for f in factors))
        case Big(_, var, _, _, body):
            return _of(body, var, names)
        case KL(Normal() as p, Normal() as q):
            return KL(_normal(p, names), _normal(q, names))
        case Pow(Func("norm", body), Num(two)) if two == 2:
            return Pow(_of(body, "", names), Num(two))
        case Sym(name, (), (), ()) if name in COUNTS:
            return ONE
    raise NotSaid(f"{latex(node)} is not a sum over coordinates")


def _normal(law: Normal, names: dict[str, Sym]) -> Normal:
    return Normal(None, law.mean if law.mean == Num(Fraction(0)) else _of(law.mean, "", names), _variance(law.cov, names))


def _variance(cov: Node, names: dict[str, Sym]) -> Node:
    """The variance of one coordinate: of v I, of diag(v), of I."""
    match cov:
        case Sym("I", (), (), ()):
            return ONE
        case Apply(Sym("diag"), (inside,)):
            return _of(inside, "", names)
        case Mul(factors) if factors[-1] == Sym("I"):
            rest = factors[:-1]
            return _of(rest[0] if len(rest) == 1 else Mul(rest), "", names)
    raise NotSaid("a covariance that is not diagonal")


def _of(node: Node, var: str, names: dict[str, Sym]) -> Node:
    """The formula with its letters, which may carry the index of the coordinate, as the numbers of one coordinate."""
    match node:
        case Apply(head, args) if head.name in ("mu", "sigma") and all(isinstance(a, Sym) for a in args):
            return _of(head, var, names)
        case Sym(name, sub, marks, labels) if not var or sub in ((), (Index(var, 0),)):
            if not (name in ("mu", "sigma", "m", "s") and (not sub or var)) or (var and not sub):
                raise NotSaid(f"{latex(node)} beside coordinates")
            key = latex(Sym(name, (), marks, labels))
            if key not in names:
                k = len([n for n in names.values() if (n.name in VECTORS) == (name in ("mu", "m"))])
                if name in ("mu", "m") and k >= len(VECTORS):
                    raise NotSaid("more than three means")
                names[key] = Sym(VECTORS[k]) if name in ("mu", "m") else Sym("sigma", labels=(f"{k + 1}c",))
            return names[key]
        case Sym():
            raise NotSaid(f"{latex(node)} beside coordinates")
        case Add() | Neg() | Mul() | Div() | Pow() | Func() | Num():
            return rebuild(node, lambda child: _of(child, var, names))
    raise NotSaid(f"{latex(node)} beside coordinates")
