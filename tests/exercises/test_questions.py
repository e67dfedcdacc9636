"""The questions themselves: what the exercises print as wrong is wrong, and what they print as right is right."""

import re
import tomllib

import pytest

from course.equations import judge, judge_derivation
from course.grading.checks import CheckFailed
from course.grading.manifest import CHECKS, EXERCISES, REPOSITORY, load_tasks
from course.grading.written import check_written, load_answers

TASKS = load_tasks()


def displayed(name: str) -> list[str]:
    """The displayed formulas of an exercise file, without the answers and the quotation marks of quoted lines."""
    text = re.sub(r"^```.*?^```", "", (EXERCISES / name).read_text(), flags=re.M | re.S)
    text = re.sub(r"^> ?", "", text, flags=re.M)
    return re.findall(r"\$\$(.+?)\$\$", text, re.S)


def test_the_printed_lines_are_wrong():
    first, *_ = displayed("ch01_elbo.md")
    assert judge(first, "vae").kind == "refuted"
    second, third, derivation, *_ = displayed("ch02_hierarchical.md")
    assert judge(second, "hvae").kind == "refuted"
    assert judge(third, "hvae").kind == "refuted"
    mean, jump, *_ = displayed("ch04_reverse.md")
    assert judge(mean, "gaussian").kind == "refuted"
    assert judge(jump, "gaussian").kind == "refuted"
    judged = judge_derivation(derivation, "hvae")
    assert judged.wrong_steps == [2, 3]
    assert not judged.undecided_steps
    assert judged.compensating


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_the_docs_link_leads_somewhere(task):
    assert (REPOSITORY / "docs" / task.docs.split("#")[0]).exists(), task.docs


BOUND = load_answers(CHECKS / "answers")["ch01.bound"]


@pytest.mark.parametrize("answer", [
    "1 = 1", r"\log p(x) = \log p(x)", r"0 \le 1", r"\log p(x) \ge \log p(x)", "TODO", "?", r"\frac{", "x" * 5000, r"\input{answers}",
    r"\log p(x) \ge \mathcal{L}", r"\log p(x) \ge -1 / 0", r"\log p(x) =", "=", r"\log p(x) \ge \mathbb{E}_q[]"])
def test_an_answer_that_says_nothing_earns_nothing(answer):
    with pytest.raises(CheckFailed):
        check_written(answer, BOUND)


def test_the_explanation_shows_a_case_and_hides_the_answer():
    with pytest.raises(CheckFailed) as failed:
        check_written(r"\log p(x) = \mathbb{E}_q[\log p(x|z)] - D_{KL}(q(z|x) \| p(z|x))", BOUND)
    text = str(failed.value)
    assert "left side" in text                              # the counterexample's two sides
    assert r"\log p(x) \geq" not in text                    # the line that would be right


def test_choices_are_read_as_people_write_them():
    spec = {"kind": "choice", "notes": {"A": "a note", "B": "b note", "C": "c note"}, "key": ["A", "C"], "yes": ["true", "hold"], "no": ["false"]}
    for answer in ("A, C", "c a", "(a) and (c)", "A\nC", "A;C", "AC", "A and C are true, B is false", "B is not true; A and C are.",
                   "A, C but not B", "False: B. True: A, C.", "all but B", "All of them except B."):
        check_written(answer, spec)
    with pytest.raises(CheckFailed, match="B does not belong there"):
        check_written("A, B", spec)
    with pytest.raises(CheckFailed, match="C is missing"):
        check_written("A", spec)
    with pytest.raises(CheckFailed, match="only says what is not"):
        check_written("not B", spec)
    with pytest.raises(CheckFailed, match="once as part of the answer and once as not"):
        check_written("A, B and C, but not B", spec)


STATEMENTS = {name: spec for name, spec in load_answers(CHECKS / "answers").items() if spec.get("kind", "statement") == "statement"}
RIGHT = {name: answers[0] for name, answers in tomllib.loads((CHECKS / "variants" / "spellings.toml").read_text()).items()}
LAW = {"vae": "q(z|x)", "hvae": "q(z_1|x)", "gaussian": "q(x_t|x_0)"}
SUMS = {  # what may be hung on a sum without changing it
    "a zero": "+ 0", "zero times something": r"+ 0 \log {law}", "added and taken away": r"+ \log {law} - \log {law}",
    "the logarithm of one": r"+ \log 1", "a divergence from itself": r"+ D_{{KL}}({law} \| {law})", "an empty sum": r"+ \sum_{{t=2}}^T 0",
    "a quotient of one": r"+ \mathbb{{E}}_q\left[\log \frac{{{law}}}{{{law}}}\right]", "(1 - 1) times something": r"+ (1 - 1) \log {law}"}
PRODUCTS = {"a quotient of one": r"\frac{{{law}}}{{{law}}}", "an empty product": r"\prod_{{t=2}}^T 1", "to the power of zero": r"{law}^0"}


LONG = ("ch02.first_line", "ch02.second_line", "ch02.terms")          # seconds each, whether they hold or not


@pytest.mark.parametrize("task", [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in STATEMENTS])
def test_a_right_answer_with_something_hung_on_it_is_told_so(task):
    spec = STATEMENTS[task]
    decorations = PRODUCTS if any(form.get("product") for form in spec["form"]) else {} if task == "ch04.jump_line" else SUMS
    check_written(RIGHT[task], spec)
    passed = []
    for name, text in decorations.items():
        if spec.get("setting") == "gaussian" and "mathbb" in text:
            continue
        try:
            check_written(f"{RIGHT[task]} {text.format(law=LAW[spec.get('setting', 'vae')])}", spec)
            passed.append(name)
        except CheckFailed:
            continue
    assert not passed


@pytest.mark.parametrize("task", STATEMENTS)
def test_the_left_side_in_disguise_is_no_answer(task):
    spec = STATEMENTS[task]
    left, relation = spec["left"][0], r"\ge" if spec["form"][0]["relations"] == [">="] else "="
    law = LAW[spec.get("setting", "vae")]
    for right in (left, rf"{left} + 0", rf"1 \cdot {left}", rf"2 {left} - {left}", rf"\frac{{{law}}}{{{law}}} {left}", rf"{left} - D_{{KL}}({law} \| {law})"):
        with pytest.raises(CheckFailed):
            check_written(f"{left} {relation} {right}", spec)
