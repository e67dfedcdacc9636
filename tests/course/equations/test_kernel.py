"""The kernel: what it accepts, what it rejects, and that its one file is all that is needed."""

import copy
import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_gaussian import CASES as GAUSSIAN_CASES
from test_statements import CASES

from course.equations import evidence, judge, kernel, read, settings
from course.equations.command import run as run_command
from course.equations.evidence import Verdict
from course.equations.meaning import lower
from course.equations.search.probability import Claim

KERNEL = Path(kernel.__file__)
TRUE = [c for c in CASES if c.kind in ("identity", "bound")]
FALSE = [c for c in CASES if c.kind == "refuted"]


GAUSSIAN = [c[0] for c in GAUSSIAN_CASES if c[1]]


def lowered(latex, setting):
    """The first chain of a text as the kernel's claim, without a rule."""
    first, *conditions = read(latex).chains
    return Claim(settings[setting], first.terms[0], first.relations[0], first.terms[1], tuple(conditions)).data()


def test_the_kernel_stands_alone():
    lines = KERNEL.read_text(encoding="utf-8").splitlines()
    imports = {line.split()[1].partition(".")[0] for line in lines if line.startswith(("import ", "from "))}
    assert imports <= set(sys.stdlib_module_names)


def test_a_copy_of_the_file_re_checks_every_accepted_statement(tmp_path):
    pieces = [e for c in TRUE for e in judge(c.latex, c.setting).evidence]
    pieces += [e for latex in GAUSSIAN for e in judge(latex, "gaussian").evidence]
    assert len(pieces) >= len(TRUE) + len(GAUSSIAN)
    shutil.copy(KERNEL, tmp_path / "kernel.py")
    (tmp_path / "proofs.json").write_text(evidence.written(pieces), encoding="utf-8")
    run = [sys.executable, "-I", "-S", "kernel.py", "proofs.json"]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert len(done.stdout.splitlines()) == len(pieces)
    assert "rejected" not in done.stdout


@pytest.mark.parametrize("c", FALSE, ids=lambda c: c.latex[:60])
def test_refutations_are_confirmed_by_the_kernel_and_never_proved(c):
    verdict = judge(c.latex, c.setting)
    assert verdict.kind == "refuted"
    assert kernel.check(verdict.evidence[0])["kind"] == "refuted"
    with pytest.raises(kernel.Rejected):
        kernel.check(evidence.same(lowered(c.latex, c.setting)))


LATE = [  # true for short chains only
    r"(T-2)(T-3)(T-4) = 0",
    r"(T-2)(T-3)(T-4)(T-5)(T-6)(T-7) \log p(x) = 0",
    r"\sum_{t=5}^T \log p(z_t|z_{t-1}) = 0",
    r"\sum_{t=9}^T \log p(z_t|z_{t-1}) = 0",
    r"\sum_{s=4}^{T-4} \log p(z_s|x) = 0",
    r"p(x) = p(x) \prod_{t=7}^T p(z_t|z_{t-1})",
    r"\log p(x) = \log p(x) + \sum_{s=1}^T \sum_{t=5}^s \log p(z_t|z_s)",
    r"\sum_{s=1}^T \sum_{t=s+5}^T \log p(z_t|z_{t-1}) = 0",
    r"\sum_{t=1}^T t \log p(x) = (T^3 - 8 T^2 + 27 T - 23) \log p(x)",  # true at T = 2, 3, 4 or so
    r"\log((T-2)(T-3)(T-4) + 1) = 0",
    r"\prod_{t=2}^T 2 = 2",
]


@pytest.mark.parametrize("latex", LATE)
def test_what_holds_for_short_chains_only_is_rejected(latex):
    with pytest.raises(kernel.Rejected):
        kernel.check(evidence.same(lowered(latex, "hvae")))


@pytest.mark.parametrize("c", [c for c in TRUE if c.kind == "identity" and c.setting != "vae"], ids=lambda c: c.latex[:60])
def test_every_T_means_longer_ones_too(c):
    claim = lowered(c.latex, c.setting)
    left, _, right = claim["claim"]
    difference = ["add", left, kernel.minus(right)]
    last = kernel.horizon(claim, [difference])
    for T in (last + 1, last + 2):
        laws, seen = kernel.Laws(claim["laws"], T), 0
        for env in kernel.instances(claim, T):
            try:
                assert kernel.Forms(claim, laws).go(difference, env, {}) == {}
                seen += 1
            except kernel.Missing:
                continue
        assert seen


def random_term(rng, depth, letters):
    """A term over the hvae setting, with sums, constants and shifts, of a kind in which late differences can hide."""

    def index():
        kind = rng.choice(["", "T", *letters, *letters])
        return [kind, rng.randint(1, 4) if not kind else -rng.randint(0, 2) if kind == "T" else rng.randint(-1, 1)]

    kind = rng.choice(["leaf", "leaf", "add", "mul", "each"]) if depth else "leaf"
    if kind == "leaf":
        if rng.random() < 0.25:
            return ["at", rng.choice([["T", 0], *([letter, 0] for letter in letters)])]
        return ["log", ["d", "p", [["z", index(), ""]], []]]
    if kind == "add":
        return ["add", random_term(rng, depth - 1, letters), random_term(rng, depth - 1, letters)]
    if kind == "mul":
        return ["mul", ["num", str(rng.choice([-1, 1, 2]))], random_term(rng, depth - 1, letters)]
    letter = "abc"[len(letters)]
    low, high = ["", rng.randint(1, 5)], rng.choice([["T", -rng.randint(0, 2)], *([x, rng.randint(-1, 1)] for x in letters)])
    return ["each", "add", letter, low, high, random_term(rng, depth - 1, [*letters, letter])]


def test_the_argument_for_all_T_on_random_statements():
    """Where the kernel accepts random statements made to vanish late or never, they vanish for longer chains too."""
    laws = lower.laws(settings["hvae"])
    accepted = 0
    for seed in range(400):
        rng = random.Random(seed)
        one = random_term(rng, 3, [])
        other = kernel.minus(one) if rng.random() < 0.3 else ["mul", ["num", "0"], one]
        claim = {"format": 1, "laws": laws, "claim": [["add", one, other], "=", ["num", "0"]], "rule": "same"}
        try:
            kernel.check(claim)
        except kernel.Rejected:
            continue
        accepted += 1
        H = kernel.horizon(claim, [claim["claim"][0]])
        for T in range(H + 1, H + 4):
            try:
                assert kernel.Forms(claim, kernel.Laws(laws, T)).go(claim["claim"][0], {"T": T}, {}) == {}, seed
            except kernel.Missing:
                continue
    assert accepted > 50


# ------------------------------------------------------------------------------------------------------ hostile evidence

X, Z = ["x", None, ""], ["z", None, ""]
SOUND = evidence.same(lowered(r"p(x,z) = p(x|z) p(z)", "vae"))
ELBO = judge(r"\log p(x) \geq \mathbb{E}_{q(z|x)}\left[\log \frac{p(x,z)}{q(z|x)}\right]").evidence[0]


def changed(original, path, value):
    out = copy.deepcopy(original)
    at = out
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return out


FORGED = {
    "another claim": changed(SOUND, ["claim", 2], ["d", "p", [["x", None, ""]], []]),
    "a rule of its own": changed(SOUND, ["rule"], "trust me"),
    "a negative coefficient": changed(ELBO, ["pieces", 0, "c"], "-1"),
    "a coefficient that is none": changed(ELBO, ["pieces", 0, "c"], "nan"),
    "a law that does not sum to one": changed(ELBO, ["pieces", 0, "law"], ["num", "2"]),
    "a weight that is negative": changed(ELBO, ["pieces", 0, "weight"], ["num", "-1"]),
    "a negative coefficient that adds up": {
        **changed(ELBO, ["pieces", 0, "c"], "-1"), "claim": [ELBO["claim"][2], ">=", ELBO["claim"][0]]
    },
    "the logarithm of what may be negative": {
        **SOUND,
        "claim": [
            ["log", ["pow", ["add", ["d", "p", [X], []], kernel.minus(["d", "q", [X], []])], -2]],
            "=",
            ["mul", ["num", "-2"], ["log", ["add", ["d", "p", [X], []], kernel.minus(["d", "q", [X], []])]]],
        ],
    },
    "no pieces": changed(ELBO, ["pieces"], []),
    "the other direction": changed(ELBO, ["claim", 1], "<="),
    "a strict one": changed(ELBO, ["claim", 1], ">"),
    "no format": {k: v for k, v in SOUND.items() if k != "format"},
    "a mark of the kernel's own": changed(SOUND, ["claim", 0, 2, 0, 2], "#1"),
    "a huge number": changed(SOUND, ["claim", 2], ["num", "9" * 10_000]),
    "a huge power": changed(SOUND, ["claim", 2], ["pow", ["num", "2"], 10**9]),
    "a huge sum": changed(SOUND, ["claim", 2], ["each", "add", "a", ["", 0], ["", 10**12], ["num", "1"]]),
    "a long run of variables": changed(SOUND, ["claim", 0, 2, 0, 1], [["", 0], ["", 10**12]]),
    "a number in an exponent": changed(SOUND, ["claim", 2], ["num", "1e999999999"]),
    "powers of powers": changed(SOUND, ["claim", 2], ["pow", ["pow", ["pow", ["pow", ["pow", ["num", "9"], 12], 12], 12], 12], 12]),
    "a definition of itself": SOUND | {"names": {"S": ["name", "S", None]}, "claim": [["name", "S", None], "=", ["num", "1"]]},
    "a circle of laws": changed(SOUND, ["laws", "p"], [["d", [X], [Z]], ["d", [Z], [X]]]),
    "nothing": {},
    "a list": {"format": 1, "rule": "same", "claim": [], "laws": {}},
    "words": {"format": 1, "rule": "same", "claim": "true", "laws": "all"},
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_evidence_is_rejected_in_words(name):
    with pytest.raises(kernel.Rejected) as problem:
        kernel.check(FORGED[name])
    assert len(str(problem.value)) > 10


def test_a_forged_world_is_rejected():
    world = judge(r"p(x,z) = p(x) p(z)").evidence[0]
    assert kernel.check(world)["kind"] == "refuted"
    table = world["world"]["tables"]["p"][0][2]
    for wrong in ([*table[:-1], "1"], ["-1", "2"], table[:1], ["x"] * len(table)):
        with pytest.raises(kernel.Rejected):
            kernel.check(changed(world, ["world", "tables", "p", 0, 2], wrong))
    with pytest.raises(kernel.Rejected):
        kernel.check({**world, "claim": SOUND["claim"]})
    with pytest.raises(kernel.Rejected):
        kernel.check(changed(world, ["world", "sizes", 0, 2], 10**9))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "[1]", "[" * 100_000, json.dumps([SOUND])[:-40], "{}" * 50])
def test_broken_files_end_in_words(text, tmp_path):
    file = tmp_path / "proofs.json"
    file.write_text(text, encoding="utf-8")
    done = subprocess.run([sys.executable, "-I", str(KERNEL), str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "rejected" in done.stdout
    assert "Traceback" not in done.stderr


BAR = judge(r"1-\bar\alpha_t = \alpha_t (1-\bar\alpha_{t-1}) + \beta_t", "gaussian").evidence[0]
SMALLER = judge(r"\tilde\beta_t \le \beta_t", "gaussian").evidence[0]
LAST = len(BAR["steps"]) - 1


@pytest.mark.parametrize(
    "forged",
    [
        changed(BAR, ["steps", 0], ["num", "3"]),
        changed(BAR, ["claim", 1], ">="),
        changed(BAR, ["claim", 2], []),
        changed(BAR, ["steps", LAST], ["add", LAST, LAST]),  # of itself
        changed(BAR, ["steps", LAST], ["mul", -1, -1]),
        changed(BAR, ["steps", LAST], ["pow", 0, 10**9]),
        changed(BAR, ["steps", LAST], ["import", "os"]),
        changed(BAR, ["steps"], [["num", "9" * 599], *([["mul", k, k] for k in range(60)])]),
        changed(SMALLER, ["claim", 1], "="),
        changed(SMALLER, ["gap"], {"number": None, "squares": []}),
        changed(SMALLER, ["positive"], []),
        {**SMALLER, "claim": SMALLER["claim"][::-1]},
    ],
    ids=range(12),
)
def test_forged_arithmetic_is_rejected(forged):
    assert kernel.check(BAR)["kind"] == "identity"
    assert kernel.check(SMALLER)["kind"] == "bound"
    with pytest.raises(kernel.Rejected):
        kernel.check(forged)


def test_roots_and_logarithms_at_a_point():
    """Exact numbers: sqrt(12) = 2 sqrt(3), log 12 = 2 log 2 + log 3, 1/(1+sqrt(2)) = sqrt(2) - 1; and what is not so is seen."""
    e = kernel.Exact()
    n = lambda x: {(frozenset(), ()): kernel.Fraction(x)}  # noqa: E731
    minus = lambda a, b: kernel.add(dict(a), b, -1)  # noqa: E731
    three, two = e.sqrt(n(3)), e.sqrt(n(2))
    assert e.zero(minus(e.sqrt(n(12)), e.times(n(2), three)))
    assert e.zero(minus(e.times(three, two), e.sqrt(n(6))))
    assert e.zero(minus(e.power(kernel.add(n(1), two), -1), minus(two, n(1))))
    assert e.zero(minus(e.log(n(12)), kernel.add(e.times(n(2), e.log(n(2))), e.log(n(3)))))
    assert e.zero(minus(e.log(n("4/9")), e.times(n(2), minus(e.log(n(2)), e.log(n(3))))))
    assert e.zero(minus(e.times(n(2), e.log(two)), e.log(n(2))))
    assert not e.zero(minus(two, n("141421356/100000000")))
    assert not e.zero(minus(e.log(n(12)), kernel.add(e.log(n(2)), e.log(n(3)))))


def test_each_byte_of_evidence_matters():
    """Random damage to sound evidence never proves something else: what is still accepted is the same claim, or a true one."""
    rng = random.Random(0)
    text = json.dumps(SOUND)
    other = json.dumps(ELBO)
    for original in (text, other):
        for _ in range(300):
            k = rng.randrange(len(original))
            damaged = original[:k] + rng.choice('[]"01pqxz,:') + original[k + 1 :]
            try:
                data = json.loads(damaged)
                found = kernel.check(data)
            except (ValueError, kernel.Rejected, AttributeError):
                continue
            assert found["kind"] in ("identity", "bound")


@pytest.mark.parametrize(
    ("latex", "setting", "status"),
    [
        (r"\log p(x) = \log \int p(x,z) dz = \log \mathbb{E}_q\left[\frac{p(x,z)}{q(z|x)}\right] \ge \mathrm{ELBO}", "vae", 0),
        (r"p(x,z) = p(x) p(z)", "vae", 1),
        (r"\tilde\beta_t = \frac{1-\bar\alpha_{t-1}}{1-\bar\alpha_t} \beta_t", "gaussian", 0),
        (r"\tilde\beta_t = \beta_t", "gaussian", 1),
    ],
)
def test_course_prove_writes_evidence_that_re_checks(latex, setting, status, tmp_path, capsys):
    file = tmp_path / "proof.json"
    assert run_command(latex, setting, False, file) == status
    assert str(file) in capsys.readouterr().err
    done = subprocess.run([sys.executable, "-I", "-S", str(KERNEL), str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert len(done.stdout.splitlines()) == len(json.loads(file.read_text(encoding="utf-8"))) == max(1, latex.count("=") + latex.count("ge "))


def test_evidence_that_cannot_be_written_or_is_not_there(tmp_path, capsys):
    assert run_command(r"p(x) = p(x)", "vae", False, tmp_path / "no" / "proof.json") == 2
    assert "cannot be written" in capsys.readouterr().err
    assert run_command(r"p(x = ", "vae", False, tmp_path / "proof.json") == 3
    assert "nothing here was proved" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["identity", "bound", "refuted"])
def test_there_is_no_such_verdict_without_evidence(kind):
    with pytest.raises(ValueError, match="without evidence"):
        Verdict(kind)
    other = "identity" if kind == "bound" else "bound"
    for unearned in (SOUND, evidence.Evidence(ELBO if other == "bound" else SOUND)):
        with pytest.raises(ValueError, match="without evidence"):
            Verdict(kind, evidence=(unearned,))
    with pytest.raises(kernel.Rejected):
        evidence.Evidence(FORGED["a rule of its own"])
    assert Verdict("undecided").evidence == ()


def test_the_package_is_light():
    """Neither numpy nor scipy at all, sympy only where a setting needs it: the same files run in a browser."""
    script = (
        "import sys\n"
        "from course.equations import judge\n"
        "judge(r'p(x,z) = p(x|z) p(z)'), judge(r'p(x,z) = p(x) p(z)'), judge(r'\\log p(x) \\ge \\mathrm{ELBO}')\n"
        "print(sorted({'numpy', 'scipy', 'sympy', 'torch'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
