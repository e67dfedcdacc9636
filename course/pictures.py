"""Pictures side by side, pictures with a caption, and files that are written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont


def image_grid(images: Sequence[Image.Image], rows: int, cols: int) -> Image.Image:
    """Lay rows * cols pictures out in a grid, row by row.

    images is a flat list. The cells are as large as the largest picture; smaller ones sit in the middle of theirs, on white.
    Raises ValueError for a wrong count, TypeError for anything but pictures (such as a list of lists).
    """
    images = list(images)
    for i, image in enumerate(images):
        if not isinstance(image, Image.Image):
            raise TypeError(f"images[{i}] is a {type(image).__name__}, not a picture; give one flat list of pictures")
    if rows < 1 or cols < 1 or len(images) != rows * cols:
        raise ValueError(f"a grid of {rows} x {cols} needs {max(rows * cols, 0)} pictures; got {len(images)}")
    width, height = max(image.width for image in images), max(image.height for image in images)
    grid = Image.new("RGB", (cols * width, rows * height), "white")
    for i, image in enumerate(images):
        row, col = divmod(i, cols)
        corner = (col * width + (width - image.width) // 2, row * height + (height - image.height) // 2)
        grid.paste(image, corner, image if image.mode in ("RGBA", "LA") else None)
    return grid


def enlarged(image: Image.Image, least: int = 128) -> Image.Image:
    """The picture a whole number of times as large, so that its longer side has about `least` pixels; never smaller."""
    zoom = max(1, least // max(image.size))
    return image.resize((zoom * image.width, zoom * image.height), Image.Resampling.BICUBIC)


def captioned(image: Image.Image, text: str, size: int = 12) -> Image.Image:
    """The picture with a line (or lines) of text above it; the result is widened if the text needs it."""
    font = ImageFont.load_default(size)
    box = ImageDraw.Draw(image).multiline_textbbox((0, 0), text, font=font)
    width, height = max(image.width, round(box[2]) + 6), image.height + round(box[3]) + 6
    canvas = Image.new("RGB", (width, height), "white")
    ImageDraw.Draw(canvas).multiline_text((width / 2, 2), text, font=font, fill="black", anchor="ma", align="center")
    canvas.paste(image, ((width - image.width) // 2, height - image.height))
    return canvas


def write_whole(path: str | os.PathLike[str], write: Callable[[Path], Any]) -> Path:
    """Let write(temporary) fill a file beside `path`, then move it there: an interrupted run leaves nothing half-written.

    Missing folders are made. Raises OSError (its message names the path) when the place cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(0o666 & ~_umask())      # mkstemp makes files only their owner can read
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def save_picture(image: Image.Image, path: str | os.PathLike[str], **about: Any) -> Path:
    """Save a picture whole; in a PNG, what `about` says (prompt, seed, ...) is kept as text inside the file.

    Raises ValueError when the ending names no picture format.
    """
    from PIL.PngImagePlugin import PngInfo

    path = Path(path)
    if path.suffix.lower() not in Image.registered_extensions():
        raise ValueError(f"{path} has no ending that names a picture format; .png is a good one")
    if path.suffix.lower() != ".png":
        return write_whole(path, image.save)
    info = PngInfo()
    for key, value in about.items():
        info.add_itxt(key, str(value))
    return write_whole(path, lambda temporary: image.save(temporary, pnginfo=info))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
