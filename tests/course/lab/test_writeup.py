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
    ('better = "heun"\nworse = "ddim"', 'better = "ddim"\nworse = "heun"', "outside the interval"),
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
    ("better = 20", "better = 100000", "at most 200 steps"),
    ("guidance = 7.5", "", "lacks guidance"),
    ("= 5", "=", "not TOML"),
])
def test_claims_that_cannot_be_read(old, new, said):
    assert old in CLAIMS
    with pytest.raises(ValueError, match=said):
        writeup.read_claims(CLAIMS.replace(old, new, 1))


@pytest.mark.parametrize(("old", "new", "said"), [
    ("sampler,steps", "steps,sampler", "first line of the rows"),
    (THUMBNAIL, THUMBNAIL[1:], "line 2 of the rows: a number or the thumbnail is damaged"),
    (",42,", ",-1,", "seed -1 is out of range"),
    ("heun,5", "heun,5.5", "line 2 of the rows"),
    (",0.4,", ",nan,", "damaged"),
    ("a large", "a huge", "line 4 of the rows: .huge. is not a word"),
])
def test_rows_that_cannot_be_read(old, new, said):
    assert old in rows()
    with pytest.raises(ValueError, match=said):
        writeup.read_cited(rows().replace(old, new, 1))


def test_too_few_rows():
    few = "\n".join(rows().splitlines()[:12])
    with pytest.raises(ValueError, match="rests on 0 pairs"):
        faults(text=few)


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
    assert writeup.forged(row, row) is None
    assert "another picture" in writeup.forged(row, row._replace(thumbnail="f" * 48))
    assert "has saturation 0.9" in writeup.forged(row, row._replace(measures={**row.measures, "saturation": 0.9}))
    assert "is not right" in writeup.forged(row, row._replace(measures={**row.measures, "right": 0.0}))
