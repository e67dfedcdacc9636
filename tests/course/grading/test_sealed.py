"""What travels in the student edition: the same checks, nothing to read by eye, options in an order of their own."""

import random
import re

import pytest

from course.grading.errors import CheckFailed
from course.grading.manifest import CHECKS, EXERCISES
from course.grading.sealed import order, permuted, permuted_text, seal, unseal
from course.grading.written import check_written, load_answers

ENTRIES = load_answers(CHECKS / "answers")
PAGE = (EXERCISES / "ch01_elbo.md").read_text()


def test_sealing_loses_nothing_and_shows_nothing(tmp_path):
    text = seal(ENTRIES)
    assert unseal(text) == ENTRIES
    assert not re.search(r"frac|mathbb|log p|does not|\bkey\b|notes|Jensen", text)
    (tmp_path / "ch01_elbo.sealed").write_text(text)
    (tmp_path / "README").write_text("not read")
    assert load_answers(tmp_path) == ENTRIES


@pytest.mark.parametrize("damage", [lambda s: s[:-30], lambda s: s.replace("ch01.bound ", "ch01.bond "), lambda s: s + "ch09.x nonsense!\n"])
def test_a_damaged_file_is_named(damage):
    with pytest.raises(ValueError, match="is damaged"):
        unseal(damage(seal({"ch01.bound": ENTRIES["ch01.bound"]})))


def statements(page):
    """statement -> its letter, of ch01.measure"""
    part = page[page.index("### ch01.measure"):]
    return {" ".join(m[2].split()): m[1] for m in re.finditer(r"(?ms)^- \*\*([A-Z])\.\*\* (.*?)(?=^- \*\*|^\s*$)", part[:part.index("```")])}


def test_every_order_is_right_for_its_own_edition_and_wrong_for_others():
    before, right, drawn = statements(PAGE), set(ENTRIES["ch01.measure"]["key"]), set()
    true = {statement for statement, letter in before.items() if letter in right}
    for word in [f"group {i}" for i in range(40)]:
        page, entries = permuted_text(PAGE, ENTRIES, word), permuted(ENTRIES, word)
        now = statements(page)
        assert sorted(now) == sorted(before)
        assert list(now.values()) == sorted(now.values())
        answer = ", ".join(now[statement] for statement in true)
        check_written(answer, entries["ch01.measure"])
        drawn.add(tuple(sorted(now[statement] for statement in true)))
        for statement in set(now) - true:                         # the remark goes with its statement
            old, new = before[statement], now[statement]
            assert entries["ch01.measure"]["notes"][new] == ENTRIES["ch01.measure"]["notes"][old]
        untouched = [name for name in ENTRIES if name != "ch01.measure"]
        assert {name: entries[name] for name in untouched} == {name: ENTRIES[name] for name in untouched}
    assert len(drawn) > 10
    wrong = random.Random(0).choice(sorted(drawn - {tuple(sorted(right))}))
    with pytest.raises(CheckFailed):
        check_written(", ".join(wrong), ENTRIES["ch01.measure"])


def test_one_word_one_order():
    letters = list("ABCDEF")
    assert order("ch01.measure", letters, "x") == order("ch01.measure", letters, "x")
    assert sorted(order("ch01.measure", letters, "x").values()) == letters
    with pytest.raises(ValueError, match="are not listed"):
        permuted_text(PAGE.replace("- **C.**", "- C."), ENTRIES, "x")
