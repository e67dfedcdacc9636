"""Claims, their rows, and what a forged or careless write-up is told."""

import pytest
from PIL import Image

from course.lab import sweep, writeup

CLAIMS = """
[sampler]
better = "heun"
worse = "ddim"
steps = 5
guidance = 7.5
measure = "right"
by = [0.3, 0.9]
[steps]
better = 20
worse = 5
sampler = "ddim"
guidance = 7.5
measure = "right"
by = [-0.1, 0.3]
[guidance]
better = 7.5
worse = 1.0
sampler = "ddim"
steps = 20
measure = "saturation"
by = [0.05, 0.15]
"""
THUMBNAIL = "0123456789ab" * 4


def rows():
    """24 pictures for each setting: heun right in 20 of 24, ddim at 5 steps in 6, at 20 steps in 8; saturation as claimed."""
    lines = [",".join(writeup.COLUMNS)]
    for sampler, steps, guidance, right, saturation in [("heun", 5, 7.5, 20, 0.4), ("ddim", 5, 7.5, 6, 0.4),
                                                        ("ddim", 20, 7.5, 8, 0.5), ("ddim", 20, 1.0, 3, 0.4)]:
        for i, prompt in enumerate(sweep.scene_prompts(24)):
            lines.append(f"{sampler},{steps},{guidance},{prompt},42,{int(i < right)},{saturation + 0.001 * (i % 3)},0.1,0.0,{THUMBNAIL}")
    return "\n".join(lines)


def faults(claims=CLAIMS, text=None):
    cited = writeup.read_cited(text or rows())
    return [writeup.fault(claim, cited) for claim in writeup.read_claims(claims)]


def test_true_claims_hold():
    assert faults() == [None, None, None]


@pytest.mark.parametrize(("old", "new", "said"), [
    ("[0.3, 0.9]", "[0.7, 0.9]", "outside the interval you state"),
    ("[-0.1, 0.3]", "[0.01, 0.3]", "Its interval reaches 0"),
    ("[0.05, 0.15]", "[0.05, 0.9]", "so wide that it says nothing"),
    ("[0.3, 0.9]", "[0.58, 0.59]", "you claim to know more than these rows show"),
    ('better = "heun"\nworse = "ddim"', 'better = "ddim"\nworse = "heun"', "the wrong direction"),
    ("[0.05, 0.15]", "[-0.15, -0.05]", "the wrong direction"),
])
def test_claims_that_do_not_hold(old, new, said):
    assert old in CLAIMS
    found = [fault for fault in faults(CLAIMS.replace(old, new)) if fault]
    assert len(found) == 1
    assert said in found[0]


@pytest.mark.parametrize(("old", "new", "said"), [
    ("[steps]", "[step]", r"\[steps\] is missing"),
    ("[sampler]", "[extra]\n[sampler]", r"\[extra\] is none of them"),
    ('worse = "ddim"', 'worse = "heun"', "with itself"),
    ('"heun"', '"huen"', "unknown sampler 'huen', did you mean 'heun'"),
    ('measure = "saturation"', 'measure = "beauty"', "measure is one of"),
    ("[0.05, 0.15]", "[0.15, 0.05]", "low first"),
    ("[0.05, 0.15]", "0.1", "low first"),
    ("[0.05, 0.15]", "[0.05, inf]", "low first"),
    ("better = 20", "better = 1000000000", r"\[steps\]: steps is a whole number from 1 to 100; got 1000000000"),
    ("better = 20", "better = 20.5", "steps is a whole number from 1 to 100; got 20.5"),
    ("better = 20", "better = true", "steps is a whole number from 1 to 100; got True"),
    ("better = 20", "better = inf", "steps is a whole number"),
    ("better = 20", "better = 0x" + 3000 * "f", "steps is a whole number|integer string conversion"),
    ("guidance = 7.5", "guidance = nan", "guidance is a number from -100 to 100; got nan"),
    ("guidance = 7.5", "guidance = 1e999", "guidance is a number from -100 to 100; got inf"),
    ("guidance = 7.5", 'guidance = "7.5"', "guidance is a number"),
    ('"heun"', '["heun"]', "sampler is a name in quotes"),
    ('"heun"', '"../../weights"', "unknown sampler '../../weights'"),
    ("guidance = 7.5", 'guidance = 7.5\nmodel = "/etc"', r"\[sampler\] has 'model', and may have .* the model is the one that ships"),
    ("guidance = 7.5", 'guidance = 7.5\nvae = "../x"', r"\[sampler\] has 'vae'"),
    ("[0.3, 0.9]", "[-0.9, -0.3]", "right less often; exchange"),
    ("[0.05, 0.15]", "[0.05, 0x" + 3000 * "f" + "]", "low first"),
    ("[0.05, 0.15]", "[false, true]", "low first"),
    ("guidance = 7.5", "", "lacks guidance"),
    ("= 5", "=", "not TOML"),
    ("= 5", "= " + 3000 * "[", "not TOML"),
    ("= 5", "= 5 # " + 4000 * "x", "have [0-9]{4} characters; three tables need some 500, and at most 4000 are read"),
])
def test_claims_that_cannot_be_read(old, new, said):
    assert old in CLAIMS
    with pytest.raises(ValueError, match=said):
        writeup.read_claims(CLAIMS.replace(old, new, 1))


@pytest.mark.parametrize(("old", "new", "said"), [
    ("sampler,steps", "steps,sampler", "line 1 of the rows: the first line must be sampler,steps"),
    (THUMBNAIL, THUMBNAIL[1:], "line 2 of the rows: the thumbnail is damaged; it has 48 hexadecimal digits, and 47 are here"),
    (",42,", ",-1,", "seed is a whole number"),
    (",42,", "," + 30 * "9" + ",", "seed is a whole number"),
    (",42,1,", ",42,0.5,", "right is 0 or 1"),
    ("heun,5", "heun,5.5", "line 2 of the rows: steps is a whole number"),
    ("heun,5", "heun,1000", "line 2 of the rows: steps is a whole number from 1 to 100; got 1000"),
    ("heun,5,7.5", "heun,5,inf", "guidance is a number"),
    ("heun,5", "hub/model,5", "unknown sampler"),
    (",0.4,", ",nan,", "line 2 of the rows: saturation is a number such as 7.5; got 'nan'"),
    (",0.4,", ",1_0,", "saturation is a number"),
    (",0.4,", ",2000,", "the other measures are shares"),
    (",0.4,", ",0.4,0.4,", "there are 10 values in a row"),
    (",0.4,", ",", "there are 10 values in a row"),
    (THUMBNAIL, '"' + 140_000 * "f", "field larger than field limit"),
    ("a large", "a huge", "line 4 of the rows: .huge. is not a word"),
])
def test_rows_that_cannot_be_read(old, new, said):
    assert old in rows()
    with pytest.raises(ValueError, match=said):
        writeup.read_cited(rows().replace(old, new, 1))


def without(*lines):
    """The rows but for some lines, the first row being line 1."""
    return "\n".join(line for number, line in enumerate(rows().splitlines()) if number not in lines)


@pytest.mark.parametrize(("text", "said"), [
    (without(*range(25, 49)), r"speaks of ddim, 5 steps, guidance 7.5, and no row does"),
    (without(30), "compares different pictures: .* with seed 42 is cited for one side only"),
    (without(*(24 * setting + i for setting in range(4) for i in range(1, 14))), "rests on 11 prompts; it needs at least 12"),
    (rows() + "\n" + "\n".join(row.replace(",42,", ",70,") for row in without(0, 1, 25, 49, 73).splitlines()),
     "rests on chosen pictures: .* is cited without seed 70"),
])
def test_rows_that_do_not_make_a_comparison(text, said):
    with pytest.raises(ValueError, match=said):
        faults(text=text)


def test_a_picture_counts_once():
    first = rows().splitlines()[1]
    for again in (first, first.replace("a small sword", "a photo of a little sword"), first.replace("a small sword", "A small  SWORD")):
        with pytest.raises(ValueError, match="line 98 of the rows: the same picture as line 2"):
            writeup.read_cited(rows() + "\n" + again)


def test_the_rows_rendered_again_speak_for_the_claim():
    cited, claims = writeup.read_cited(rows()), writeup.read_claims(CLAIMS)
    for seed in range(20):
        chosen = writeup.sample(claims, cited, seed)
        assert len(chosen) <= 6
        assert {row.setting for row in chosen} == {side for claim in claims for side in (claim.better, claim.worse)}
        better, worse = chosen[:2]
        assert (better.measures["right"], worse.measures["right"]) == (1, 0)
        assert (better.prompt, better.seed) == (worse.prompt, worse.seed)
    assert len({writeup.sample(claims, cited, seed)[0].prompt for seed in range(20)}) > 5


def test_thumbnails_know_a_picture_again_and_no_other():
    first, second = (Image.radial_gradient("L").convert("RGB").rotate(angle) for angle in (0, 7))
    noisy = first.point(lambda level: min(level + 3, 255))
    other = Image.linear_gradient("L").convert("RGB")
    assert writeup.alike(writeup.thumbnail(first), writeup.thumbnail(noisy))
    assert not writeup.alike(writeup.thumbnail(first), writeup.thumbnail(other))
    assert not writeup.alike(writeup.thumbnail(first), "")
    assert len(writeup.thumbnail(second)) == 48


def test_a_forged_row_is_found():
    row = writeup.read_cited(rows())[0]

    def changed(**measures):
        return row._replace(measures={**row.measures, **measures})

    assert writeup.forged(row, row) is None
    assert writeup.forged(row, changed(saturation=0.409, right=1 / 3)) is None            # rounding, and a probe that wavers
    assert "another picture" in writeup.forged(row, row._replace(thumbnail="f" * 48))
    assert "has saturation 0.9" in writeup.forged(row, changed(saturation=0.9))
    assert "is not right" in writeup.forged(row, changed(right=0.0))


def test_cited_rows_are_true_in_batches_of_any_size(tmp_path):
    """The same pictures, rendered in a batch of 8 and one by one: other checksums, and yet the same rows."""
    settings = [sweep.Setting(sampler=sampler, steps=2) for sampler in ("heun", "euler_ancestral")]
    settings += [sweep.Setting(sampler="heun", steps=1), sweep.Setting(sampler="heun", steps=2, guidance=1.0)]
    sweep.run(tmp_path / "sweep", settings, sweep.scene_prompts(13), [42], batch=8, device="cpu", progress=False)
    file = tmp_path / "ch11_writeup.md"
    claims = CLAIMS.replace("steps = 20", "steps = 2").replace("steps = 5", "steps = 2").replace("better = 20", "better = 2")
    claims = claims.replace("worse = 5", "worse = 1").replace("ddim", "heun").replace('better = "heun"', 'better = "euler_ancestral"')
    file.write_text(f"```toml ch11.writeup\n{claims}```\n```csv ch11.rows\nold\n```\nprose\n")
    assert writeup.cite(tmp_path / "sweep", file) == 4 * 13
    text = file.read_text()
    assert text.endswith("```\nprose\n")
    assert "old" not in text
    cited = writeup.read_cited(text.split("ch11.rows\n")[1].split("```")[0])
    assert list(dict.fromkeys(row.prompt for row in cited)) == sweep.scene_prompts(13)
    few = [cited[0], cited[12], cited[13], cited[25], cited[-1]]
    again = writeup.render_again(few)
    assert [writeup.forged(*pair) for pair in zip(few, again, strict=True)] == [None] * 5
    assert writeup.forged(cited[1], again[0])
    assert writeup.forged(cited[13], again[0])

    rows_file = tmp_path / "sweep" / "rows.csv"
    rows_file.write_text(rows_file.read_text().replace("float32", "float16"))
    with pytest.raises(ValueError, match=r"pictures in float16, and they are checked in float32.*--device cpu"):
        writeup.cite(tmp_path / "sweep", file)
    file.write_text(text.replace("steps = 2", "steps = 3"))
    with pytest.raises(ValueError, match=r"no pictures with emoji, euler_ancestral, 3 steps.*course sweep --out"):
        writeup.cite(tmp_path / "sweep", file)
    file.write_text("```toml ch11.writeup\n% nothing\n```\n```csv ch11.rows\n```\n")
    with pytest.raises(ValueError, match="has no claims yet"):
        writeup.cite(tmp_path / "sweep", file)
