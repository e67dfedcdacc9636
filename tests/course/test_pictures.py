import pytest
from PIL import Image

from course.pictures import captioned, image_grid, save_picture, write_whole
from course.stable_diffusion import image_grid as same_image_grid


def flat(colour, size=(4, 3)):
    return Image.new("RGB", size, colour)


def test_grid_lays_rows_out():
    assert same_image_grid is image_grid
    colours = [(i, 2 * i, 0) for i in range(6)]
    grid = image_grid([flat(c) for c in colours], 2, 3)
    assert grid.size == (12, 6)
    assert [grid.getpixel((4 * (i % 3) + 1, 3 * (i // 3) + 1)) for i in range(6)] == colours


def test_grid_of_mixed_sizes_and_modes():
    grid = image_grid([flat("red", (8, 8)), Image.new("RGBA", (2, 4), (0, 0, 255, 0)), Image.new("L", (4, 2), 7)], 1, 3)
    assert grid.size == (24, 8)
    assert grid.getpixel((11, 4)) == (255, 255, 255)                   # transparent: the paper shows
    assert grid.getpixel((20, 4)) == (7, 7, 7)                         # in the middle of its cell
    assert grid.getpixel((16, 0)) == (255, 255, 255)


@pytest.mark.parametrize(("count", "rows", "cols"), [(5, 2, 3), (7, 2, 3), (0, 0, 0), (0, 1, 1), (2, -1, -2)])
def test_wrong_counts(count, rows, cols):
    with pytest.raises(ValueError, match=rf"a grid of {rows} x {cols} needs \d+ pictures; got {count}"):
        image_grid([flat("red")] * count, rows, cols)


def test_lists_of_lists_are_refused():
    with pytest.raises(TypeError, match=r"images\[0\] is a list, not a picture; give one flat list"):
        image_grid([[flat("red")], [flat("red")]], 1, 2)


def test_caption_keeps_the_picture():
    picture = captioned(flat("red", (40, 30)), "a rather long caption")
    assert picture.height > 30
    assert picture.width > 40
    assert picture.getpixel((picture.width // 2, picture.height - 1)) == (255, 0, 0)


def test_save_keeps_what_it_is_told(tmp_path):
    path = save_picture(flat("red"), tmp_path / "deep" / "a.png", prompt="ein Bär", seed=3)
    with Image.open(path) as image:
        assert image.text == {"prompt": "ein Bär", "seed": "3"}
    save_picture(flat("red"), tmp_path / "a.jpg")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jpg", "deep"]


def test_save_refuses_a_name_that_is_no_picture(tmp_path):
    with pytest.raises(ValueError, match="no ending that names a picture format"):
        save_picture(flat("red"), tmp_path / "picture")


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_nothing_half_written(tmp_path, error):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def write(path):
        path.write_text("half")
        raise error

    with pytest.raises(error):
        write_whole(target, write)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]
