"""A figure that moves (docs/javascripts/figures.js) with the still one that stands in for it on paper and without scripts."""

import html

from course.emoji.data import Scene, render

from .common import data_address


def moving(name: str, still: str = "", **data: str) -> str:
    """`<fig-NAME>` with its data, then the still figure; none where the page has it anyway. data: what the element's script reads."""
    attributes = "".join(f' data-{key}="{html.escape(value, quote=True)}"' for key, value in data.items())
    return f'<div class="moving">\n<fig-{name}{attributes}></fig-{name}>\n{still}</div>\n'


def scene(of: Scene) -> str:
    """A scene of the emoji world as a data address."""
    return data_address(render(of))
