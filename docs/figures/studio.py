"""<paint-studio>: the shipped model at work in the page, with the pictures that stand in for it on paper and without scripts."""

import html
import json
from functools import cache

from course.emoji.data import COLOURS, OBJECTS
from course.stable_diffusion import trace_strip

from .common import ROOT, picture
from .gallery import PROMPT, model, paint

ASSETS = ROOT / "docs" / "assets"
LOADED = ("model/unet.onnx", "model/decoder.onnx", "model/text.onnx", "model/tokenizer.json",
          "runtimes/ort/ort.wasm.bundle.min.mjs", "runtimes/ort/ort-wasm-simd-threaded.wasm")


def weight(files: tuple[str, ...] = LOADED) -> int | None:
    """How many bytes a click loads; None when the site is built without them (see course/browser.py)."""
    paths = [ASSETS / name for name in files]
    return sum(path.stat().st_size for path in paths) if all(path.is_file() for path in paths) else None


@cache
def studio() -> str:
    """The element, and after it the strip of one run that it replaces."""
    seen: list = []
    paint(PROMPT, (1,), num_steps=20, trace=seen)
    whole = trace_strip(seen, model().vae, 8)
    strip = picture(
        whole.resize((640, round(whole.height * 640 / whole.width)), 1).quantize(48), "studio",
        f"Two rows of eight small pictures, from noise on the left to {PROMPT} on the right.",
        f"“{PROMPT}”, seed 1, 20 steps of DPM-Solver++ (2M), guidance 7.5. Above, what the sampler holds at that time; "
        "below, the picture it points to.", least=560,
    )
    size = weight()
    about = f'data-bytes="{size}"' if size else 'data-reason="This copy of the site was built without the model for browsers."'
    words = html.escape(json.dumps({"objects": list(OBJECTS), "colours": list(COLOURS)}), quote=True)
    return f'<div class="studio"><paint-studio {about} data-words="{words}"></paint-studio>\n{strip}</div>\n'
