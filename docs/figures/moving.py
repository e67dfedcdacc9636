"""A figure that moves (docs/javascripts/figures.js) with the still one that stands in for it on paper and without scripts."""

import base64
import html
import io

from course.emoji.data import Scene, render


def moving(name: str, still: str = "", **data: str) -> str:
    """`<fig-NAME>` with its data, then the still figure; none where the page has it anyway. data: what the element's script reads."""
    attributes = "".join(f' data-{key}="{html.escape(value, quote=True)}"' for key, value in data.items())
    return f'<div class="moving">\n<fig-{name}{attributes}></fig-{name}>\n{still}</div>\n'


def scene(of: Scene) -> str:
    """A scene of the emoji world as a data address."""
    buffer = io.BytesIO()
    render(of).save(buffer, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
