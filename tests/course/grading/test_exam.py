"""The exam bank: keys that are judged again, equal difficulty by construction, marking."""

import json
import re
import shutil

import pytest
import torch
from typer.testing import CliRunner

from course.cli import app
from course.equations import judge
from course.grading.exam import BROWSERS, CLASSES, PROGRAMS, TRUE, exam, mark, print_pdf, run, write_exam


def check(question):
    """The key of a question, found again without looking at how it was made."""
    if question.kind == "lines":
        kinds = [judge(line, "gaussian", explain=False).kind for line in question.options]
        assert sorted(kinds) == ["identity", "refuted", "refuted", "refuted"]
        assert question.key == "abcd"[kinds.index("identity")]
        assert sorted(why["class"] for why in question.why if "class" in why) == sorted(CLASSES)
    elif question.kind == "code":
        (why,) = question.why
        assert run("\n".join(question.options), why["arguments"]) == why["gives"] != why["should give"]
        right = list(question.options)
        right[int(question.key) - 1] = next(p[2].split("\n")[int(question.key) - 1] for p in PROGRAMS if p[2].split("\n")[0] == question.options[0])
        assert run("\n".join(right), why["arguments"]) == why["should give"]
    else:
        assert abs(question.key - world(question.text)) < 1e-3 * max(1, abs(question.key))


def world(text):
    """The number a question asks for, by the course's own functions where it has one."""
    from course.guidance import classifier_free
    from course.samplers import transfer
    from course.schedule import Level

    if (found := re.search(r"betas ([\d., ]+)\.", text)):
        return torch.cumprod(1 - torch.tensor([float(b) for b in found.group(1).split(",")], dtype=torch.float64), 0)[-1].item()
    values = [float(v) for v in re.findall(r"(?<![\w^])-?\d+(?:\.\d+)?(?!\w)", text)]
    if "One DDIM step" in text:
        now, next_, x, eps = values[:4]
        return transfer(torch.tensor(x, dtype=torch.float64), torch.tensor(eps, dtype=torch.float64), *(Level(0, a ** 0.5, (1 - a) ** 0.5) for a in (now, next_))).item()
    if "believe in" in text:
        a, x, eps = values[:3]
        return (x - (1 - a) ** 0.5 * eps) / a ** 0.5
    if "Without the prompt" in text:
        u, c, w = values[:3]
        pair = [torch.full((1, 1), v, dtype=torch.float64) for v in (u, c)]
        return classifier_free(lambda x, level: tuple(pair), w)(pair[0], Level(0, 0.6, 0.8)).item()
    m, s, n, r = values[:4]
    return torch.distributions.kl_divergence(torch.distributions.Normal(m, s ** 0.5), torch.distributions.Normal(n, r ** 0.5)).item()


def test_a_paper_is_judged_again():
    questions = exam(7, 15)
    assert [q.kind for q in questions] == ["lines", "numbers", "code"] * 5
    for question in questions:
        check(question)
    assert exam(7, 15) == questions
    assert exam(8, 15) != questions


@pytest.mark.slow
def test_a_thousand_questions_are_judged_again():
    for seed in range(1, 41):
        for question in exam(seed, 25):
            check(question)


def test_every_slip_in_the_bank_changes_what_comes_out():
    assert all(judge(line, "gaussian", explain=False).kind == "identity" for line in TRUE)
    assert all(len({line for line, _ in slips}) >= 2 for *_, slips in PROGRAMS)          # the number alone does not give it away
    assert {q.text for q in exam(3, 60) if q.kind == "code"} == {q.text for q in exam(4, 60) if q.kind == "code"}


def test_marking(tmp_path):
    runner, options = CliRunner(), ["exam", "--seed", "7", "--tasks", "6"]
    result = runner.invoke(app, [*options, "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    page = (tmp_path / "paper.html").read_text()
    assert page.count("<math") >= 8
    assert "<script" not in page
    assert not re.search(r"href=|src=", page)
    key = [q["key"] for q in json.loads((tmp_path / "key.json").read_text())["questions"]]
    assert str(key[1]) not in page.split("2.</h2>")[1].split("Answer")[0].replace("alpha_bar_4", "")
    form = (tmp_path / "answers.toml").read_text()
    filled = form
    for n, answer in enumerate(key, 1):
        filled = re.sub(rf'(?m)^{n} = ""', f'{n} = "{answer}"', filled)
    questions = exam(7, 6)
    assert mark(questions, form) == [False] * 6
    assert mark(questions, filled) == [True] * 6
    near = re.sub(r'(?m)^2 = ".*?"', f'2 = " {float(key[1]) * 1.005:.6f} ".replace', filled).replace(".replace", "")
    assert mark(questions, near.replace('1 = "', '1 = "x')) == [False, True, True, True, True, True]
    for text in ("", "answers = 3", "[answers", "[other]"):
        with pytest.raises(ValueError, match="not a filled-in form"):
            mark(questions, text)
    for value in ("nan", "inf", "1e400", "x", ""):
        assert not mark(questions, f'[answers]\n2 = "{value}"')[1]
    (tmp_path / "alice.toml").write_text(filled)
    result = runner.invoke(app, [*options, "--mark", str(tmp_path / "alice.toml")])
    assert result.output.splitlines()[1] == "alice.toml,6,6,1,1,1,1,1,1"
    assert runner.invoke(app, ["exam", "--seed", "7", "--tasks", "0"]).exit_code == 1


def browser(folder, does):
    path = folder / "browser"
    path.write_text(f"#!/bin/sh\nfor a; do case $a in --print-to-pdf=*) out=${{a#*=}};; esac; done\n{does}\n")
    path.chmod(0o755)
    return str(path)


def test_the_paper_is_printed_whole_or_not_at_all(tmp_path, monkeypatch):
    """By a stand-in for the browser: where the page is given, what is kept, what is said."""
    (tmp_path / "paper.html").write_text("<p>paper</p>")
    pdf = tmp_path / "paper.pdf"
    monkeypatch.setenv("CHROMIUM", browser(tmp_path, 'case "$*" in *file://*/paper.html) printf "%%PDF-1.7 first" > "$out";; esac'))
    assert print_pdf(tmp_path / "paper.html") == pdf
    for does, said in (('printf "%%PDF-1.7 half" > "$out.part"; echo "no space left" >&2; exit 1', "no space left"),
                       ('echo "<html>" > "$out"', "it said nothing"), ("exit 0", "it said nothing")):
        monkeypatch.setenv("CHROMIUM", browser(tmp_path, does))
        with pytest.raises(ValueError, match=said):
            print_pdf(tmp_path / "paper.html")
        assert pdf.read_bytes() == b"%PDF-1.7 first"
    monkeypatch.setenv("CHROMIUM", str(tmp_path / "none"))
    with pytest.raises(ValueError, match="did not print"):
        print_pdf(tmp_path / "paper.html")
    monkeypatch.delenv("CHROMIUM")
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(ValueError, match="no Chromium or Chrome here"):
        print_pdf(tmp_path / "paper.html")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["browser", "paper.html", "paper.pdf"]


@pytest.mark.slow
def test_a_real_browser_prints_the_paper(tmp_path):
    if not any(map(shutil.which, BROWSERS)):
        pytest.skip("no Chromium here")
    assert write_exam(tmp_path, 7, 3, pdf=True)[-1].stat().st_size > 5000
