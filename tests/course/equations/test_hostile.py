"""Input that is meant to hurt: it ends soon, in little memory, with a verdict and a reason; never with an exception."""

import time

import pytest
from typer.testing import CliRunner

from course.equations import judge, judge_derivation

SECONDS = 8  # of CPU; they take less than one on an idle machine
BOMBS = [
    # nesting
    "(" * 5000, "{" * 5000, "p(x)=" + "{" * 9000 + "}" * 9000, "\\frac" * 3000, "\\frac{" * 200 + "1" + "}{2}" * 200 + "=1",
    "p(x)=" + "(" * 39 + "p(x)" + ")" * 39, "x^{" * 39 + "2" + "}" * 39 + "=1", "\\sqrt{" * 39 + "2" + "}" * 39 + "=1",
    "\\log" * 3000 + " p(x)=1", "\\nabla_{x_t}" * 1000 + "\\log q(x_t|x_0)=1", "\\max_q " * 2000 + "p(x)=1", "-" * 9000 + "1=1",
    "\\bar" * 3000 + "\\alpha=1", "\\mathbf" * 3000 + " x=1", "\\mathbb{E}_{q(z|x)}[" * 39 + "\\log p(x)" + "]" * 39 + "=1",
    "\\mathrm{Cov}(" * 30 + "x_t" + ")" * 30 + "=1", "\\underbrace{" * 39 + "p(x)" + "}_{a}" * 39 + "=1", "\\exp(" * 38 + "p(x)" + ")" * 38 + "=1",
    # length and number of parts
    "x" * 19999, "9" * 19000 + "=1", "=".join(["p(x)"] * 3000), "p(x)=p(x)\\\\" * 1500, "&" * 19000 + "=1", " " * 19999, "\\\\" * 9000,
    "p(x)" * 3000 + "=1", "+".join(["p(x|z)"] * 2000) + "=1", "q(x_t|x_0)" * 300 + "=1", "p(x)" + "'" * 9000 + "=1", "p(" * 500 + ")" * 500,
    "p(" + ",".join(f"z_{{{i}}}" for i in range(2000)) + ")=1", "z_1,\\ldots,z_T" * 300 + "=1", "1" + "{,}000" * 3000 + "=1", "|" * 9999,
    "\\sum_{s=1}^t \\beta_s " * 100 + "=1", "\\prod_{s=1}^t \\alpha_s " * 200 + "=1", "\\sum_{t=1}^T " * 300 + "p(z_t)=1", "\\int " * 900 + "p(x)" + "dz" * 900,
    "\\sum_{t=1}^{12}\\sum_{s=1}^{12}\\sum_{i=1}^{12}\\sum_{j=1}^{12} \\log p(z_t) = 1", "p(x) \\propto " * 500 + "p(x)", "\\begin{align}" * 1000,
    # numbers
    "2^{2^{2^{2^{2}}}} = 1", "10^{10^{10}} = 1", "(1+1)^{99999999999999999999} = 1", "((((p(x)^{8})^{8})^{8})^{8})^{8} = 1", "\\exp(1000000000) = 1",
    "\\bar\\alpha_{999999999} = 1", "x_{9999} = 1", "p(z_{1:9999})=1", "\\prod_{t=1}^{9999} p(z_t|z_{t-1}) = 1", "\\frac{1}{0}=1", "0^{-1}=1", "\\log 0 = 1",
    "(a+b+c+d_1+e_1+f+g)^{12}=(a+b)^{12}", "\\sqrt{1+\\sqrt{\\alpha_t}}\\sqrt{2+w}\\sqrt{3+w}\\sqrt{5+w}\\sqrt{7+w}=1",
    # characters
    "\x00", "p(x)\x00=1", "p(x)=\ud800", "\U0001f600=1", "p(x)\u202e=1", "\ufb01=1", "p\u0301(x)=1", "\\", "\\\\\\", "%", "$" * 9999, "_" * 5000, "^" * 5000,
    # definitions that go in circles, or double
    "L:=L", "L := M, M := L, L = M + 1", "L=M\\\\M=N\\\\N=L+L+L",
    " \\\\ ".join(f"L_{{a{i}}} := L_{{a{i + 1}}} + L_{{a{i + 1}}}" for i in range(60)) + " \\\\ L_{a0} = 1",
]  # fmt: skip


@pytest.mark.parametrize("setting", ["hvae", "gaussian"])
@pytest.mark.parametrize("bomb", BOMBS, ids=[f"{i}: {b[:20]!a}" for i, b in enumerate(BOMBS)])
def test_bombs(bomb, setting):
    start = time.process_time()
    verdict = judge(bomb, setting)
    assert verdict.kind in {"unreadable", "undecided", "refuted", "identity", "outside"}
    assert verdict.kind in {"refuted", "identity"} or verdict.reason
    assert (verdict.position is not None) == (verdict.kind == "unreadable")
    assert len(str(verdict)) < 200_000
    if verdict.kind == "unreadable":
        found = judge_derivation(bomb, setting)
        assert found.error is not None
        assert not found.holds
    assert time.process_time() - start < SECONDS


@pytest.mark.parametrize("what", [None, 5, b"p(x) = 1", ["p(x) = 1"], 3.5, object(), {}, ("p(x) = 1",)])
def test_what_is_not_text_is_a_type_error(what):
    for f in (judge, judge_derivation):
        with pytest.raises(TypeError, match="text"):
            f(what)


@pytest.mark.parametrize("name", ["", "nope", "VAE", "vae "])
def test_a_setting_that_is_none_is_a_value_error(name):
    with pytest.raises(ValueError, match="known are"):
        judge("p(x) = p(x)", name)


def test_files_of_all_kinds(tmp_path):
    from course.cli import app

    def prove(*args):
        return CliRunner().invoke(app, ["prove", *map(str, args)])

    (tmp_path / "empty.tex").write_text("")
    (tmp_path / "binary.tex").write_bytes(bytes(range(256)))
    (tmp_path / "zeros.tex").write_bytes(b"\x00" * 1000)
    (tmp_path / "long.tex").write_text("p(x) = p(x) \\\\ " * 5000)
    for name in ("empty.tex", "binary.tex", "zeros.tex", "long.tex", "missing.tex", "."):
        out = prove(tmp_path / name if name != "missing.tex" else name)
        assert out.exit_code == 3, name
        assert out.output.strip(), name
        assert not isinstance(out.exception, Exception) or isinstance(out.exception, SystemExit), name
    assert "folder" in prove(tmp_path).stderr
    assert "not a text file" in prove(tmp_path / "binary.tex").stderr
    assert "there is no file" in prove("missing.tex").stderr
    assert prove("p(x" + "y" * 5000 + ") = 1").exit_code in {2, 3}  # too long for the name of a file
