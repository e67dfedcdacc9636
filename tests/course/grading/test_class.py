"""Assignments, rosters and the class page: who gets what, and what a teacher sees."""

import csv
import datetime
import hashlib
import json
import random
import re
import time

import pytest
from typer.testing import CliRunner

from course.cli import app
from course.grading import similar
from course.grading.assignment import Assignment, Person, owners, read_assignment, read_roster
from course.grading.classroom import histogram, items, marks, write_class
from course.grading.collect import deadline_of
from course.grading.manifest import load_tasks
from course.grading.writers import write

TASKS = load_tasks()


def report(name, scores, path="", files=None, mistakes=None, notes=()):
    tasks = [{"id": id, "title": TASKS[id].title if id in TASKS else id, "score": float(s), "max_score": 2.0, "extra": False,
              "status": "passed" if s == 2 else "failed" if s is not None and s >= 0 else "not_attempted",
              "cause": "wrong_value" if s is not None and 0 <= s < 2 else None, "feedback": "x",
              "mistake": (mistakes or {}).get(id)} for id, s in scores.items()]
    for task in tasks:
        task["score"] = max(task["score"], 0.0)
    return {"version": 1, "submission": {"name": name, "path": str(path), "sha256": "0" * 64, "files": files or {}, "paths": {}},
            "score": sum(t["score"] for t in tasks), "max_score": 2.0 * len(tasks), "tasks": tasks, "seed": 1, "seconds": 1.0, "notes": list(notes),
            "sandbox": {"level": "FULL", "active": [], "inactive": {}}, "versions": {"course": "1"}}


def save(folder, *reports):
    folder.mkdir(parents=True, exist_ok=True)
    for r in reports:
        (folder / f"{r['submission']['name']}.json").write_text(write(r, "native"))


def rows(path):
    with open(path, encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


# ---------------------------------------------------------------- assignments

def assignment(tmp_path, text):
    (tmp_path / "hw.toml").write_text(text)
    return read_assignment(tmp_path / "hw.toml")


def test_an_assignment_is_read(tmp_path):
    hw = assignment(tmp_path, '''
name = "Homework 2"
tasks = ["ch03", "ch08.guide"]
total = 20
deadline = "2026-11-30 23:59 +0100"
several = "best"
[points]
"ch08.guide" = 5
[late]
grace_minutes = 15
percent_a_day = 10
most = 50
[extensions]
s2 = "2026-12-05 23:59 +0100"
''')
    chosen = hw.choose(TASKS)
    assert {t.chapter for t in chosen.values()} == {"ch03_forward", "ch08_guidance"}
    assert sum(t.points for t in chosen.values() if not t.extra) == pytest.approx(20)
    assert list(chosen) == [name for name in TASKS if name in chosen]
    due = deadline_of("2026-11-30 23:59 +0100")
    late = [hw.late_days("s1", due + datetime.timedelta(minutes=m)) for m in (-9, 0, 15, 16, 24 * 60, 24 * 60 + 1, 99 * 24 * 60)]
    assert late == [0, 0, 0, 1, 1, 2, 99]
    assert hw.late_days("s2", due + datetime.timedelta(days=5)) == 0
    assert [hw.after_late(20, d) for d in (0, 1, 3, 99)] == [20, 18, 14, 10]


@pytest.mark.parametrize(("text", "says"), [
    ('taks = ["ch03"]', "unknown key 'taks'"), ('tasks = "ch03"', "wrong type"), ("total = 0", "not a number above zero"), ("total = nan", "above zero"),
    ("total = true", "wrong type"), ('deadline = "2026-11-30"', "with its time zone"), ("[late]\npercent = 1", "unknown key"), ("[late]\nmost = -1", "above zero"),
    ('several = "first"', "one of ask, best, last"), ('[points]\n"ch03.x" = "a"', "above zero"), ("a = ", "hw.toml"), ("tasks = [1]", "list of names"),
    ('[extensions]\nx = 3', "hw.toml")])
def test_an_assignment_that_cannot_be_meant(tmp_path, text, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        assignment(tmp_path, text)


def test_tasks_that_are_not_there(tmp_path):
    with pytest.raises(ValueError, match="did you mean"):
        Assignment(tasks=("ch03.addnoise",)).choose(TASKS)
    with pytest.raises(ValueError, match="not a task of this assignment"):
        Assignment(tasks=("ch03",), points={"ch08.guide": 1}).choose(TASKS)


def test_check_asks_for_what_the_assignment_at_the_top_asks_for(tmp_path, monkeypatch):
    from course.grading import manifest, progress

    asked = []
    monkeypatch.setattr(manifest, "REPOSITORY", tmp_path)
    monkeypatch.setattr(progress, "check", lambda names, seed: asked.append(tuple(names)) or 0)
    for text, arguments, names in (("", (), ()), ('tasks = ["ch08", "ch03.add_noise"]', (), ("ch08", "ch03.add_noise")), ('tasks = ["ch08"]', ("ch05",), ("ch05",))):
        (tmp_path / "assignment.toml").write_text(text)
        assert CliRunner().invoke(app, ["check", *arguments]).exit_code == 0
        assert asked[-1] == names
    (tmp_path / "assignment.toml").write_text("tasks = 3")
    result = CliRunner().invoke(app, ["check"])
    assert result.exit_code == 1
    assert "assignment.toml" in result.output


# ---------------------------------------------------------------- who is who

def test_a_roster_finds_its_submissions(tmp_path):
    (tmp_path / "r.csv").write_text("\ufeffID;Name;Mail;Pattern\r\n101;Müller, Jane;jane.m@uni.edu;\r\n11;Wu, Li;;*_4711_*\r\n1;李娜;li@x.cn;\r\n", encoding="utf-8")
    people = read_roster(tmp_path / "r.csv")
    found = owners(people, [{"name": n, "path": f"/in/{n}.zip"} for n in ("101", "hw-101-final", "1012", "jane.m", "wu_4711_5_x", "11", "x_1", "li-1-101")])
    assert {name: [p.id for p in who] for name, who in found.items()} == {
        "101": ["101"], "hw-101-final": ["101"], "1012": [], "jane.m": ["101"], "wu_4711_5_x": ["11"], "11": [], "x_1": ["1"], "li-1-101": ["101", "1"]}


@pytest.mark.parametrize(("text", "says"), [("name\nx\n", "columns id and name"), ("id,name\n1,a\n1,b\n", "is there twice"), ("id,name\n,b\n", "every row an id")])
def test_a_roster_that_cannot_be_used(tmp_path, text, says):
    (tmp_path / "r.csv").write_text(text)
    with pytest.raises(ValueError, match=says):
        read_roster(tmp_path / "r.csv")


def test_two_hand_ins_of_one_person_are_never_merged_silently():
    people, due = [Person("1", "A"), Person("2", "B")], deadline_of("2026-11-30 23:59 +0100")
    reports = {n: report(n, {"ch03.add_noise": s}) for n, s in (("1-a", 2), ("1-b", 1), ("nobody", 2))}
    times = {"1-a": due + datetime.timedelta(hours=1), "1-b": due}
    for several, final in (("ask", None), ("best", 1.8), ("last", 1.8)):
        (one, two), stray = marks(people, reports, Assignment(several=several, deadline=due, percent_a_day=10), times)
        assert (one.final, len(one.submissions)) == (final, 2)
        assert "1-a, 1-b" in one.note
        assert (two.final, two.note) == (0.0, "nothing was handed in")
        assert stray == {"nobody": "belongs to nobody on the roster"}
    (one, _), _ = marks(people, reports, Assignment(several="last"), {"1-a": due})
    assert (one.final, "not all have a time" in one.note) == (None, True)


def test_the_files_for_grade_books(tmp_path):
    due = deadline_of("2026-11-30 23:59 +0100")
    handed = tmp_path / "in"
    handed.mkdir()
    (handed / "collected.csv").write_text("name,time\n1,2026-12-01 10:00:00 UTC\n")
    save(tmp_path / "g", report("1", {"ch03.add_noise": 2, "ch03.alphas_cumprod": 1}, handed / "1.tar"), report("2-x", {"ch03.add_noise": 2, "ch03.alphas_cumprod": 2}),
         report("2-y", {"ch03.add_noise": 0, "ch03.alphas_cumprod": -1}))
    people = [Person("1", "Müller, Jane", "j@x"), Person("2", "=cmd()", "k@x"), Person("3", "Li Na", "l@x")]
    files, said = write_class(tmp_path / "g", people, Assignment("Homework 2", deadline=due, percent_a_day=50))
    assert "1 handed in nothing, 1 need a decision, 0 submissions" in said[0]
    assert [r["Grade"] for r in rows(files["moodle.csv"])] == ["1.5", "", "0"]
    canvas = rows(files["canvas.csv"])
    assert [(r["Student"], r["Homework 2"]) for r in canvas] == [("    Points Possible", "4"), ("Müller, Jane", "1.5"), ("'=cmd()", ""), ("Na, Li", "0")]
    assert rows(files["blackboard.csv"])[0] == {"Last Name": "Müller", "First Name": "Jane", "Username": "1", "Homework 2 [Total Pts: 4 Score]": "1.5"}
    assert [r["id"] for r in rows(files["missing.csv"])] == ["3"]
    assert rows(files["marks.csv"])[0]["note"] == "1 day late"
    assert "Müller, Jane" in files["class.html"].read_text(encoding="utf-8")


# ---------------------------------------------------------------- the page

def test_items_count_what_was_done_and_the_mistakes_by_name():
    reports = [report(str(n), {"ch03.add_noise": 2 * (n > 2), "ch03.alphas_cumprod": 2 * (n > 2)}, mistakes={"ch03.add_noise": "the roots" if n < 2 else None}) for n in range(6)]
    reports.append(report("x", {"ch03.add_noise": -1, "ch03.alphas_cumprod": 1}))
    one, _ = items(reports)
    assert (one["passed"], one["failed"], one["not_attempted"]) == (3, 3, 1)
    assert one["share"] == pytest.approx(6 / 14)
    assert dict(one["mistakes"]) == {"the roots": 2}
    assert one["discrimination"] > 0.8
    assert items([report("a", {"ch03.add_noise": 1})])[0]["discrimination"] is None
    assert [n for _, n in histogram([0, 1, 1.99, 2, 3], 2, 2)] == [1, 4]


FUNCTION = '''
import torch


def add_noise(x0, noise, alpha_bar_t):
    """Doc."""
    level = alpha_bar_t.reshape(-1, *[1] * (x0.ndim - 1))
    if level.min() < 0 or level.max() > 1:
        raise ValueError("alpha_bar_t must be in [0, 1]")
    for step in range(3, 11, {k}):
        level = torch.where(level > {k} * step, level - {k}, level + {j}) + torch.sin(level * {j}) ** {k} - torch.cos(level + {j})
    while level.sum() > {j} and level.min() != {k}:
        level = level * {j} / ({k} + level) - {j} * level ** {k}
    return level.sqrt() * x0 + (1 - level).sqrt() * noise
'''


def test_similar_files_are_found_whatever_the_names():
    def version(k, j):
        return FUNCTION.format(k=k, j=j).encode()

    class_ = {f"s{n:03d}": version(10 + n, 500 - n) for n in range(40)}
    class_["copy"] = re.sub(rb"\blevel\b", b"a_bar", class_["s007"]).replace(b"\n    while", b"\n\n    # my own work\n    while")
    found = similar.alike(class_)
    assert [(one, other) for _, one, other, _ in found] == [("copy", "s007")]
    assert found[0][0] > 0.9
    assert similar.alike({"a": b"x = 1\n", "b": b"x = 1\n"}) == []          # short: says nothing
    same = similar.identical({"a": {"f.py": "1"}, "b": {"f.py": "1"}, "c": {"f.py": "0"}, "d": {"f.py": "0"}}, {"f.py": "0"})
    assert same == [("f.py", ["a", "b"])]


def synthetic(tmp_path, count, rng):
    """Reports and hand-ins of a class; every tenth copies its neighbour."""
    ids, source = list(TASKS), ""
    for n in range(count):
        folder = tmp_path / "in" / f"s{n:04d}"
        folder.mkdir(parents=True)
        if n % 10 or not source:
            source = "".join(FUNCTION.format(k=rng.randrange(1, 99), j=rng.randrange(1, 9999)).replace("add_noise", f"f{i}") for i in range(6))
        (folder / "ch06_samplers.py").write_text(source)
        digest = hashlib.sha256(source.encode()).hexdigest()
        save(tmp_path / "g", report(folder.name, {i: rng.choice([2, 2, 1, 0, -1]) for i in ids}, folder, {"ch06_samplers.py": digest},
                                    {ids[0]: rng.choice(["one <b>", "another", None])}))


def check_page(text):
    assert "<script" not in text
    assert not re.search(r"https?://|<link|<img|@import", text)
    assert "one &lt;b&gt;" in text
    assert "byte for byte" in text
    assert text.count("<h2>") >= 7


def test_the_page_of_a_small_class(tmp_path):
    synthetic(tmp_path, 12, random.Random(1))
    result = CliRunner().invoke(app, ["class", str(tmp_path / "g")])
    assert result.exit_code == 0, result.output
    text = (tmp_path / "g" / "class.html").read_text(encoding="utf-8")
    check_page(text)
    assert "This is the first." in text
    path = tmp_path / "g" / "s0003.json"
    changed = json.loads(path.read_text())
    changed["tasks"][0].update(score=0.0, status="failed", cause="wrong_value")
    changed["score"] = sum(t["score"] for t in changed["tasks"])
    path.write_text(json.dumps(changed))
    assert CliRunner().invoke(app, ["class", str(tmp_path / "g")]).exit_code == 0
    again = (tmp_path / "g" / "class.html").read_text(encoding="utf-8")
    assert "s0003: " in again or "No mark has changed." in again
    assert CliRunner().invoke(app, ["class", str(tmp_path / "in")]).exit_code == 1


@pytest.mark.slow
def test_a_thousand_students(tmp_path):
    synthetic(tmp_path, 1000, random.Random(2))
    began = time.process_time()
    write_class(tmp_path / "g")
    assert time.process_time() - began < 20
    check_page((tmp_path / "g" / "class.html").read_text(encoding="utf-8"))
