r"""Settings: which variables exist, and how the joint laws p and q factorise.

A setting is declared by writing its two joint laws down, in LaTeX, as any lecturer would. A hidden Markov model:

    from course.equations import Setting, judge
    hmm = Setting(
        "hmm",
        p=r"p(z_1) \prod_{t=2}^T p(z_t|z_{t-1}) \prod_{t=1}^T p(x_t|z_t)",
        q=r"q(z_{1:T}|x_{1:T})",
    )
    judge(r"p(x_{1:T}, z_{1:T}) = p(z_{1:T}) \prod_{t=1}^T p(x_t|z_t)", setting=hmm)

Variables that q is conditioned on and has no law for are `observed`. A factor with several variables, such as
q(z_{1:T}|x), says nothing about independence. Everything else is computed: any density p(A|B) is a marginal of the
declared joint divided by another. `settings["hmm"] = hmm` makes the name known to the docs, and `course prove --setting hmm.toml`
reads the same from a file; the shipped settings are such files, beside this one.

Named quantities (ELBO, L_T) are part of a setting too: see `names`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import combinations
from pathlib import Path

from course.equations.meaning.closed_forms import NotSaid
from course.equations.meaning.masked import Masked
from course.equations.meaning.paths import Path as Declared
from course.equations.meaning.paths import Paths
from course.equations.reading.reader import ReadError, read, read_statement
from course.equations.reading.tree import Big, Density, Index, Mul, Node, Range, Sym, walk

Slot = tuple[str, int]  # ("z", 2) is z_2; ("x", -1) is a variable without index
MAX_T = 12


@dataclass(frozen=True)
class Setting:
    r"""The joint laws of p and q, as products of densities in LaTeX.

    names:   further quantities, as LaTeX: {"ELBO": r"\mathbb{E}_{q(z|x)}[...]"}; a name with an index reads "L_s".
    aliases: other spellings of a variable: {"x": "x_0"}.
    note:    one sentence on the setting, shown to users.
    laws:    further laws as (name, the law whose factors it has): ((r"p_{\theta'}", "p"),). They are otherwise arbitrary.
    """

    name: str
    p: str
    q: str
    names: dict[str, str] = field(default_factory=dict, hash=False)
    aliases: dict[str, str] = field(default_factory=dict, hash=False)
    note: str = ""
    laws: tuple[tuple[str, str], ...] = ()

    @cached_property
    def letters(self) -> tuple[str, ...]:
        """The names of all laws, p and q first."""
        return ("p", "q", *(name for name, _ in self.laws))

    @cached_property
    def trees(self) -> dict[str, Node]:
        own = {"p": read(self.p + " = 1").chains[0].terms[0], "q": read(self.q + " = 1").chains[0].terms[0]}
        return own | {name: own[like] for name, like in self.laws}

    @cached_property
    def definitions(self) -> dict[str, Node]:
        negative = {"NELBO": r"-\mathrm{ELBO}"} if "ELBO" in self.names else {}
        return {k: read_statement(f"{v} = 0").terms[0] for k, v in (negative | self.names).items()}

    @cached_property
    def alias_slots(self) -> dict[Slot, Slot]:
        return {_slot_of(k): _slot_of(v) for k, v in self.aliases.items()}

    @cached_property
    def indexed(self) -> bool:
        """Does the setting have variables with an index, and so a length T?"""
        return any(isinstance(n, Sym) and n.sub for tree in self.trees.values() for n in walk(tree))

    def factors(self, letter: str, T: int) -> list[tuple[tuple[Slot, ...], tuple[Slot, ...]]]:
        """The factors of a joint law for length T: (variables, conditions)."""
        out: list[tuple[tuple[Slot, ...], tuple[Slot, ...]]] = []

        def go(node: Node, env: dict[str, int]) -> None:
            match node:
                case Mul(factors):
                    for f in factors:
                        go(f, env)
                case Big("prod", var, low, high, body):
                    for i in range(value(low, env, T), value(high, env, T) + 1):
                        go(body, {**env, var: i})
                case Density(_, args, given):
                    out.append(
                        (tuple(s for a in args for s in slots(a, env, T)), tuple(s for g in given for s in slots(g, env, T)))
                    )
                case _:
                    raise ValueError(f"setting {self.name}: the law of {letter} must be a product of densities")

        go(self.trees[letter], {})
        return out


def value(index: Index | None, env: dict[str, int], T: int) -> int:
    if index is None:
        return T
    if not index.var:
        return index.shift
    return (T if index.var == "T" else env[index.var]) + index.shift


def slots(sym: Sym, env: dict[str, int], T: int) -> list[Slot]:
    """The variables a symbol stands for: z_{1:3} is z_1, z_2, z_3."""
    if not sym.sub:
        return [(sym.name, -1)]
    sub = sym.sub[0]
    if isinstance(sub, Index):
        i = value(sub, env, T)
        return [(sym.name, i if i >= 0 else i - 1)]  # -1 marks a variable without index
    assert isinstance(sub, Range)
    return [(sym.name, i if i >= 0 else i - 1) for i in range(value(sub.low, env, T), value(sub.high, env, T) + 1)]


def _slot_of(text: str) -> Slot:
    name, _, sub = text.partition("_")
    return name, int(sub) if sub else -1


class Model:
    """A setting at one length T: its variables, and what its laws imply about marginals.

    forget names the laws whose independences are forgotten: which variables there are and which are
    observed is kept.
    extra is the number of variables beyond T that are added at the end, to give a meaning to statements that use them.
    """

    def __init__(self, setting: Setting, T: int, forget: frozenset[str] = frozenset(), extra: int = 0):
        self.setting, self.T, self.forget, self.extra = setting, T, forget, extra
        self.letters = setting.letters
        factors = {letter: setting.factors(letter, T + extra) for letter in self.letters}
        with_law = {letter: [s for args, _ in f for s in args] for letter, f in factors.items()}
        everything = list(
            dict.fromkeys([*with_law["p"], *with_law["q"], *(s for f in factors.values() for _, g in f for s in g)])
        )
        self.slots: list[Slot] = sorted(everything, key=lambda s: (s[1], s[0]))
        self.observed: dict[str, tuple[Slot, ...]] = {
            letter: tuple(s for s in self.slots if s not in with_law[letter]) for letter in self.letters
        }
        self.parents: dict[str, dict[Slot, tuple[Slot, ...]]] = {}
        for letter in self.letters:
            order: list[tuple[Slot, tuple[Slot, ...]]] = []
            root: list[Slot] = []
            for s in self.observed[letter]:  # a formal, arbitrary law for what has none: nothing true depends on it
                order.append((s, tuple(root)))
                root.append(s)
            for args, given in factors[letter]:
                done: list[Slot] = []
                for a in args:
                    order.append((a, (*given, *done)))
                    done.append(a)
            if letter in forget:
                seen = list(self.observed[letter])
                rest = [s for s, _ in order if s not in seen]
                order = [(s, tuple(seen[:i])) for i, s in enumerate(seen)]
                for s in rest:
                    order.append((s, tuple(seen)))
                    seen.append(s)
            self.parents[letter] = dict(order)
        self._canon: dict[tuple[str, frozenset[Slot]], dict[frozenset[Slot], int]] = {}

    @property
    def latent(self) -> tuple[Slot, ...]:
        """What a bare E_q averages over: everything but the observed; where q has a law for all, all but the first variable."""
        seen = self.seen
        return tuple(s for s in self.slots if s not in seen)

    @property
    def seen(self) -> tuple[Slot, ...]:
        """What a bare E_q holds fixed."""
        if self.observed["q"]:
            return self.observed["q"]
        first = min(self.slots, key=lambda s: (s[1], s[0]))
        return (first,)

    def separated(self, letter: str, a: Slot, b: Slot, given: frozenset[Slot]) -> bool:
        """Are a and b independent given `given` in every law that factorises as declared? (d-separation)"""
        parents = self.parents[letter]
        keep, stack = set(), [a, b, *given]
        while stack:
            s = stack.pop()
            if s not in keep:
                keep.add(s)
                stack.extend(parents[s])
        neighbours: dict[Slot, set[Slot]] = {s: set() for s in keep}
        for s in keep:
            family = (s, *parents[s])
            for u, v in combinations(family, 2):
                neighbours[u].add(v)
                neighbours[v].add(u)
        seen, stack = {a}, [a]
        while stack:
            for n in neighbours[stack.pop()]:
                if n == b:
                    return False
                if n not in seen and n not in given:
                    seen.add(n)
                    stack.append(n)
        return True

    def canon(self, letter: str, wanted: frozenset[Slot]) -> dict[frozenset[Slot], int]:
        """The marginal of `wanted` as a product of smaller marginals with exponents, as far as independence splits it:
        along a chain p(z_1, z_2, z_3) = p(z_1, z_2) p(z_2, z_3) / p(z_2)."""
        key = (letter, wanted)
        if key in self._canon:
            return self._canon[key]
        out: dict[frozenset[Slot], int] = {}
        if wanted:
            order = [s for s in self.slots if s in wanted]
            for gap in range(len(order) - 1, 0, -1):
                for i in range(len(order) - gap):
                    a, b = order[i], order[i + gap]
                    if self.separated(letter, a, b, wanted - {a, b}):
                        for part, sign in ((wanted - {a}, 1), (wanted - {b}, 1), (wanted - {a, b}, -1)):
                            for k, v in self.canon(letter, part).items():
                                out[k] = out.get(k, 0) + sign * v
                        out = {k: v for k, v in out.items() if v}
                        self._canon[key] = out
                        return out
            out[wanted] = 1
        self._canon[key] = out
        return out



class BadSetting(ValueError):
    """A file that declares no setting; the message says where and what is wrong."""


KEYS = {"name": str, "p": str, "q": str, "note": str, "names": dict, "aliases": dict}
PATH_KEYS = {"name": str, "note": str, "path": list}
ONE_PATH = {"data": str, "noise": str, "time": str, "signal": str, "level": str, "upto": int, "letters": dict, "at": dict, "positive": list,
            "said": str, "only": str}
NEEDED = ("data", "noise", "time", "signal", "level")


def load(path: Path, trusted: bool = False) -> Setting | Paths:
    r"""The setting that a TOML file declares: p and q as products of densities in LaTeX, and, where wanted, a name, a note, names of
    further quantities and other spellings of variables. Or, with `[[path]]`, a way from data to noise, see paths.Path.

        p = 'p(z_1) \prod_{t=2}^T p(z_t|z_{t-1}) \prod_{t=1}^T p(x_t|z_t)'
        q = 'q(z_{1:T}|x_{1:T})'
        [names]
        ELBO = '\mathbb{E}_q[\log p(x_{1:T}, z_{1:T}) - \log q(z_{1:T}|x_{1:T})]'

    Raises OSError where the file cannot be read, BadSetting where it declares no setting. trusted: its LaTeX is not looked at.
    """
    try:
        data = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSetting(f"{path} is not TOML: {error}. LaTeX stands in single quotes there: p = 'p(x, z)'") from None
    if "mask" in data:
        _known_keys(data, {"name": str, "note": str, "mask": dict}, str(path))
        _known_keys(data["mask"], {"said": str}, f"{path}: mask")
        return Paths(data.get("name", path.stem), (Masked(**data["mask"]),), data.get("note", ""))
    if "path" in data:
        return _paths(data, path, trusted)
    _known_keys(data, KEYS, str(path))
    for key in ("p", "q"):
        if not data.get(key):
            raise BadSetting(f"{path}: {key} is missing: the joint law {key} as a product of densities, such as {key} = '{key}(x, z)'")
    setting = Setting(**{"name": path.stem, **data})
    return setting if trusted else checked(setting, str(path))


KINDS = {str: "text in quotes", dict: "a table", list: "a list", int: "a whole number"}


def _known_keys(data: dict, keys: Mapping[str, type], where: str) -> None:
    """Raise BadSetting for a key that is not among these, or not of its type."""
    for key, kind in keys.items():
        if not isinstance(data.get(key, kind()), kind) or isinstance(data.get(key), bool):
            raise BadSetting(f"{where}: {key} must be {KINDS[kind]}")
    if unknown := data.keys() - keys.keys():
        raise BadSetting(f"{where}: the key {min(unknown)} is not known; known are {', '.join(keys)}")


def _paths(data: dict, path: Path, trusted: bool) -> Paths:
    """The setting about a path that a file declares, everything in it read once."""
    _known_keys(data, PATH_KEYS, str(path))
    readings = []
    for n, one in enumerate(data["path"], 1):
        where = f"{path}: path {n}"
        if not isinstance(one, dict):
            raise BadSetting(f"{where} must be a table, [[path]]")
        _known_keys(one, ONE_PATH, where)
        if missing := [key for key in NEEDED if not one.get(key)]:
            raise BadSetting(f"{where}: {missing[0]} is missing, such as {missing[0]} = '{EXAMPLES[missing[0]]}'")
        for table in ("letters", "at"):
            if odd := next((k for k, v in one.get(table, {}).items() if not isinstance(v, str)), None):
                raise BadSetting(f"{where}: {table}: {odd} must be text in quotes")
        if one.get("upto") not in (None, 1):
            raise BadSetting(f"{where}: upto must be 1, or left out where the time has no end")
        rest = {key: tuple(one.get(key, {}).items()) for key in ("letters", "at")} | {"positive": tuple(one.get("positive", ()))}
        declared = Declared(**{**one, **rest})
        try:
            if not trusted:
                declared.check()
        except (ReadError, NotSaid) as error:
            raise BadSetting(f"{where}: {error}") from None
        readings.append(declared)
    return Paths(data.get("name", path.stem), tuple(readings), data.get("note", ""))


EXAMPLES = {"data": "x_0", "noise": r"\epsilon", "time": "t", "signal": "1 - t", "level": "t"}


def checked(setting: Setting, where: str) -> Setting:
    """The setting, if everything it says can be read and means something; else BadSetting."""
    for key, text in {"p": setting.p, "q": setting.q, **setting.names}.items():
        if not isinstance(text, str):
            raise BadSetting(f"{where}: {key} must be text in quotes")
        try:
            read(f"{text} = 1")
        except ReadError as error:
            raise BadSetting(f"{where}: {key}: {error}") from None
    try:
        Model(setting, 2 if setting.indexed else 1)
    except (ValueError, KeyError, AssertionError) as error:
        raise BadSetting(f"{where}: the laws do not factorise: {error}") from None
    return setting


@lru_cache(maxsize=256)
def model(setting: Setting, T: int, forget: frozenset[str] = frozenset(), extra: int = 0) -> Model:
    """The Model of these arguments, made once."""
    return Model(setting, T, forget, extra)


HERE = Path(__file__).parent
settings: dict[str, Setting | Paths] = {
    name: load(HERE / f"{name}.toml", trusted=True) for name in ("vae", "hvae", "chain", "diffusion", "flow", "levels", "edm", "masked")
}


def with_laws(name: str) -> Setting:
    """A shipped setting that declares laws p and q."""
    setting = settings[name]
    assert isinstance(setting, Setting)
    return setting
