"""The checker of the documentation: what it finds in a page, what it refuses, what it shows."""

import re
import shutil
from pathlib import Path

import markdown
import pytest

from course.equations import pages

ROOT = Path(__file__).parents[3]
TRUE = r"\log p(x) \ge \mathbb{E}_q\left[\log \frac{p(x,z)}{q(z|x)}\right]"
FALSE = r"\log p(x) = \mathbb{E}_q\left[\log \frac{p(x,z)}{q(z|x)}\right]"
CHAIN = r"""\begin{aligned}
\log p(x) &= \log \int p(x,z)\,dz \\
  &= \log \mathbb{E}_q\left[\frac{p(x,z)}{q(z|x)}\right] \\[4pt]
  &\ge \mathbb{E}_q\left[\log \frac{p(x,z)}{q(z|x)}\right]
\end{aligned}"""
BROKEN = CHAIN.replace(r"&\ge", "&=")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "CACHE", tmp_path / "cache")


def page(*parts):
    return "\n\n".join(parts)


def formula(latex, comment="setting=vae"):
    return f"<!-- check: {comment} -->\n$$\n{latex}\n$$"


def only(text):
    found = [pages.check(b) for b in pages.blocks(text.splitlines())]
    assert len(found) == 1
    return found[0]


def convert(text, **options):
    extensions = ["pymdownx.superfences", "pymdownx.arithmatex", "admonition", "tables", "course.equations.pages"]
    return markdown.markdown(
        text,
        extensions=extensions,
        extension_configs={"pymdownx.arithmatex": {"generic": True}, "course.equations.pages": options},
    )


# ---- finding formulas


def test_blocks_and_their_comments_are_found():
    text = page(
        "# T",
        formula(TRUE),
        "words",
        "<!-- check: definition -->\n\n$$ a = b $$",
        formula(CHAIN, 'setting=vae cited="Ho 2020, eq. 3"'),
    )
    found = list(pages.blocks(text.splitlines()))
    assert [b.options for b in found] == [{"setting": "vae"}, {"definition": ""}, {"setting": "vae", "cited": "Ho 2020, eq. 3"}]
    assert found[0].latex == TRUE
    assert found[1].latex.strip() == "a = b"
    assert found[2].latex == CHAIN
    assert text.splitlines()[found[0].first] == "$$"


def test_code_is_not_searched():
    text = page(
        "```md\n$$\na = b\n$$\n```",
        "~~~\n<!-- check: setting=vae -->\n~~~",
        "````\n```\n$$ x $$\n```\n````",
        "`$$ a $$` is code",
    )
    assert list(pages.blocks(text.splitlines())) == []


def test_quotes_lists_and_admonitions_are_searched():
    text = (
        "> <!-- check: setting=vae -->\n> $$\n> "
        + TRUE
        + "\n> $$\n\n!!! note\n\n    <!-- check: setting=vae -->\n    $$\n    "
        + TRUE
        + "\n    $$\n"
    )
    found = list(pages.blocks(text.splitlines()))
    assert [b.latex for b in found] == [TRUE, TRUE]
    assert not any(b.problem for b in found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$$\na = b\n$$", "no check comment"),
        ("<!-- check: setting=vae -->\n\nwords\n\n$$\na = b\n$$", "no formula after it"),
        ("<!-- check: setting=vae -->", "no formula after it"),
        ("<!-- check: setting=vae -->\n<!-- check: setting=vae -->\n$$ p(x) = p(x) $$", "no formula after it"),
        ("<!-- check: setting=vae -->\n$$\na = b\n\nc", "not closed"),
        ("<!-- check: -->\n$$ a = b $$", "empty"),
        ("<!-- check: seting=vae -->\n$$ a = b $$", "unknown option seting"),
        ("<!-- check: wrong -->\n$$ a = b $$", "needs a setting"),
        ("<!-- check: setting=vae wrong=x -->\n$$ a = b $$", "line numbers"),
        ('<!-- check: cited="" -->\n$$ a = b $$', "needs a source"),
        ('<!-- check: cited="Ho -->\n$$ a = b $$', "cannot be read"),
        ("<!-- check: setting=vea -->\n$$ p(x) = p(x) $$", "no setting 'vea'"),
        (r"<!-- check: setting=vae -->" + "\n$$ p(x) = \\left( p(x $$", "unreadable"),
        ("<!-- check: setting=vae -->\n$$ p(x) $$", "not a statement"),
    ],
)
def test_what_cannot_be_checked_fails(text, expected):
    problems = [p for b in pages.blocks(text.splitlines()) for p in pages.check(b).problems]
    assert any(expected in p for p in problems), problems


# ---- judging


def test_a_derivation_is_judged_line_by_line():
    found = only(formula(CHAIN))
    assert [line.how for line in found.lines] == ["proved"] * 3
    assert [line.row for line in found.lines] == [0, 1, 2]
    assert found.problems == ()


def test_one_wrong_line_is_named():
    found = only(formula(BROKEN))
    assert [line.how for line in found.lines] == ["proved", "proved", "failed"]
    assert len(found.problems) == 1
    assert found.problems[0].startswith("line 3: refuted")


def test_a_deliberately_wrong_line_must_be_refuted():
    assert only(formula(FALSE, "setting=vae wrong")).problems == ()
    assert only(formula(FALSE, "setting=vae wrong")).lines[0].how == "wrong"
    assert "no line of it is refuted" in only(formula(TRUE, "setting=vae wrong")).problems[0]
    assert only(formula(BROKEN, "setting=vae wrong=3")).problems == ()
    assert "refuted in lines [3]" in only(formula(BROKEN, "setting=vae wrong=2")).problems[0]


def test_a_source_excuses_what_cannot_be_decided_but_not_what_is_false():
    approximate = r"q(x_T|x_0) \approx p(x_T)"
    assert only(formula(approximate, "setting=gaussian")).problems
    cited = only(formula(approximate, 'setting=gaussian cited="Ho 2020"'))
    assert cited.problems == ()
    assert cited.lines[0].note == "cited: Ho 2020"
    assert only(formula(FALSE, 'setting=vae cited="Ho 2020"')).problems
    assert only(formula(TRUE, 'setting=vae cited="Ho 2020"')).lines[0].how == "proved"


def test_how_a_line_is_known_is_said():
    markov = only(formula(r"q(z_{1:T}|x) = q(z_1|x)\prod_{t=2}^T q(z_t|z_{t-1})", "setting=hvae"))
    assert "Markov" in markov.lines[0].note
    assert markov.lines[0].note == "proved for every T ≥ 2, uses the Markov property of q"
    for text, note in {
        r"1-\bar\alpha_t = \beta_t + \alpha_t(1-\bar\alpha_{t-1})": "proved for every t ≥ 2",  # at t = 1 nothing was shown
        r"3 \cdot 512 = 1536": "proved",  # no t occurs
        r"D_{KL}(\mathcal{N}(\mu_1, \sigma^2 I) \| \mathcal{N}(\mu_2, \sigma^2 I)) = \frac{1}{2\sigma^2}\|\mu_1 - \mu_2\|^2": "proved",
    }.items():
        assert only(formula(text, "setting=gaussian")).lines[0].note == note
    summed = only(formula(r"\sqrt{\sum_{s=1}^t \beta_s\bar\alpha_{s-1}} = \sqrt{1-\bar\alpha_t}", "setting=gaussian"))
    assert summed.lines[0].how == "failed"
    assert "was not proved" in summed.lines[0].reason


def test_a_definition_agrees_with_its_setting_and_gets_no_tick():
    agrees = only(formula(r"\alpha_t = 1 - \beta_t", "setting=gaussian definition"))
    assert (agrees.lines[0].how, agrees.lines[0].note) == ("definition", "definition, agrees with the setting")
    assert agrees.problems == ()
    assert only(formula(r"\alpha_t = 1 + \beta_t", "setting=gaussian definition")).problems
    two = "\\begin{aligned} \\alpha_t &= 1 - \\beta_t \\\\ \\bar\\alpha_t &= \\prod_{s=1}^t \\alpha_s \\end{aligned}"
    assert "checkmark" not in pages.marked(two, only(formula(two, "setting=gaussian definition")).lines)


# ---- the cache


def test_verdicts_are_kept_and_depend_on_the_formula_and_the_engine(monkeypatch, tmp_path):
    calls = []
    real = pages._judge
    monkeypatch.setattr(pages, "_judge", lambda *a: calls.append(a) or real(*a))
    first = only(formula(TRUE))
    assert only(formula(TRUE)) == first
    assert len(calls) == 1
    only(formula(TRUE, "setting=chain"))
    assert len(calls) == 2
    monkeypatch.setattr(pages, "engine", lambda: "another")
    only(formula(TRUE))
    assert len(calls) == 3
    assert not list(tmp_path.rglob("*.part"))


def test_a_damaged_or_unwritable_cache_only_costs_time(tmp_path, monkeypatch):
    first = only(formula(TRUE))
    for file in pages.CACHE.rglob("*.json"):
        file.write_text("{ half")
    assert only(formula(TRUE)) == first
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(pages, "CACHE", tmp_path / "file" / "below")
    assert only(formula(TRUE)) == first


# ---- showing


def test_rows_and_marks():
    assert [CHAIN[a:b].count("log") for a, b, _ in pages.rows(CHAIN)] == [2, 1, 1]
    shown = pages.marked(CHAIN, only(formula(CHAIN)).lines)
    assert shown.count(r"\checkmark") == 3
    for row in shown.splitlines()[1:4]:
        assert row.count("&") == 2  # the mark has a column of its own
    assert re.sub(r" &\\quad \{\\scriptstyle \\checkmark\}", "", shown) == CHAIN
    assert pages.marked(TRUE, only(formula(TRUE)).lines) == TRUE
    assert pages.marked(CHAIN, only(formula(CHAIN, "definition")).lines) == CHAIN, "what claims nothing gets no mark"
    nested = r"\begin{aligned} p(x) &= \begin{aligned} a & b \\ c & d \end{aligned} \\ &= {x \\ y} & z \end{aligned}"
    assert len(pages.rows(nested)) == 2
    assert pages.rows(r"\begin{aligned} a &= \{ b \\ &= c \} \\ \end{aligned}")[1][2] == 2


def test_the_page_shows_the_formula_and_how_it_is_known():
    out = convert(
        page("# T", formula(CHAIN), "words", formula(FALSE, "setting=vae wrong"), formula("a = b", 'cited="Ho & Co <2020>"'))
    )
    assert out.count('class="arithmatex"') == 3
    assert "check:" not in out
    assert "line 1" in out or "lines 1 to 2" in out
    assert "refuted, as it should be" in out
    assert "cited: Ho &amp; Co &lt;2020&gt;" in out
    assert "<p><ul" not in out
    assert "$$" not in out


def test_formulas_in_admonitions_stay_in_them():
    inside = "\n".join("    " + line for line in formula(TRUE).splitlines())
    out = convert("!!! note\n\n    before\n\n" + inside + "\n\n    after\n")
    note = out[out.index('<div class="admonition') :]
    assert "arithmatex" in note
    assert "known-proved" in note
    assert note.index("known-proved") < note.index("after") < note.index("</div>", note.index("after"))
    assert "<pre>" not in out


def test_code_on_a_page_is_left_alone():
    out = convert("```md\n" + formula(FALSE) + "\n```")
    assert "known" not in out
    assert "check: setting=vae" in out


def test_a_false_line_shows_and_warns(caplog):
    out = convert(formula(FALSE))
    assert "known-failed" in out
    assert any(r.name.startswith("mkdocs") and r.levelname == "WARNING" for r in caplog.records)


def test_the_list_of_all_formulas(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.md").write_text(page("# First", formula(CHAIN), formula(FALSE, "setting=vae wrong")))
    (tmp_path / "b.md").write_text(page("# Second", formula("a := b", "definition"), formula("a = b", 'cited="Ho"')))
    out = convert("<!-- checked formulas: ../ -->", docs=str(tmp_path))
    assert re.search(r"3</td>\s*<td[^>]*>proved", out)
    assert re.search(r"1</td>\s*<td[^>]*>wrong on purpose", out)
    assert 'href="../sub/a.md"' in out
    assert out.count('class="arithmatex"') == 6


# ---- the command


def test_the_command_reports_and_fails(tmp_path, capsys):
    good = tmp_path / "good.md"
    good.write_text(formula(CHAIN))
    assert pages.main([str(tmp_path)]) == 0
    assert "3 proved" in capsys.readouterr().out
    (tmp_path / "bad.md").write_text("one\n\n" + formula(BROKEN))
    assert pages.main([str(tmp_path)]) == 1
    assert re.search(r"bad\.md:4: line 3: refuted", capsys.readouterr().out)
    assert pages.main([str(tmp_path / "none")]) == 2
    assert "there is no" in capsys.readouterr().err


def test_every_formula_of_the_documentation_is_accepted(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(pages, "CACHE", ROOT / ".cache" / "equations")
    status = pages.main(["docs"])
    out = capsys.readouterr().out
    assert status == 0, out


def test_breaking_one_sign_in_a_chapter_fails(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pages, "CACHE", ROOT / ".cache" / "equations")
    source = ROOT / "docs" / "chapters" / "03-forward-process.md"
    copy = tmp_path / source.name
    shutil.copy(source, copy)
    assert pages.main([str(copy)]) == 0
    text = copy.read_text(encoding="utf-8")
    broken = text.replace(r"\sqrt{1-\bar\alpha_t}", r"\sqrt{1+\bar\alpha_t}")
    assert broken != text
    copy.write_text(broken, encoding="utf-8")
    assert pages.main([str(copy)]) == 1
    capsys.readouterr()


def test_letters_are_declared_in_the_comment():
    text = (
        '<!-- check: setting=vae let="p = p(a) p(b|a) p(c|b)" -->\n$$\np(c|a,b) = p(c|b)\n$$\n\n'
        '<!-- check: setting=vae let="p = p(a) p(b|a) p(c|b)" wrong=1 -->\n$$\np(c|a) = p(c|b)\n$$\n\n'
        '<!-- check: setting=vae let="p = p(a|" -->\n$$\np(a) = p(a)\n$$\n\n'
        '<!-- check: let="p = p(a)" -->\n$$\np(a) = p(a)\n$$\n'
    )
    found = [pages.check(block) for block in pages.blocks(text.split("\n"))]
    assert [[(line.how, line.row) for line in c.lines] for c in found[:2]] == [[("proved", 0)], [("wrong", 0)]]
    assert found[2].problems
    assert "let needs a setting" in found[3].problems[0]
