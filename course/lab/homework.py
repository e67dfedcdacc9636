"""The whole assignment in one command: schedulers, steps, guidance, two parts swapped, three prompts at seeds 42 and 70."""

from __future__ import annotations

from pathlib import Path

from course.lab.sweep import Setting, grid, scene_prompts

# The original homework's own prompts, for the full-size model, and its seeds.
PROMPTS = ["an astronaut flying", "a big bruin bear roaring at a trojan warrior", "a person taking a picture of a landscape"]
SEEDS = [42, 70]
# The same nouns in the words of the emoji world.
EMOJI_PROMPTS = ["an astronaut above a mountain on a blue background", "a bear left of a sword on a white background",
                 "a person left of a camera on a green background"]

STEPS = [5, 10, 20, 50, 100]
GUIDANCE = [1.0, 3.0, 7.5, 15.0, 25.0]


def settings(model: str, full: bool = False) -> list[Setting]:
    """What is compared: every sampler at 10 and 50 steps, the steps and the guidance of one sampler, and on the emoji model
    the other VAE and the other text encoder that ship with it. `full`: every sampler x steps x guidance instead."""
    from course.samplers import TAUGHT

    if full:
        found = grid(model=model, sampler=list(TAUGHT), steps=STEPS, guidance=GUIDANCE)
    else:
        found = grid(model=model, sampler=list(TAUGHT), steps=[10, 50])
        found += grid(model=model, sampler="dpmpp_2m", steps=STEPS)
        found += grid(model=model, sampler="dpmpp_2m", steps=50, guidance=GUIDANCE)
    for part, name in parts(model):
        found += grid(model=model, sampler="dpmpp_2m", steps=50, guidance=GUIDANCE if full else [1.0, 7.5], **{part: name})
    return list(dict.fromkeys(found))


def parts(model: str) -> list[tuple[str, str]]:
    """The replacement parts that lie beside a model: (field, folder name)."""
    from course.components import locate

    folder = Path(locate(model))
    if not folder.is_dir():
        return []
    names = sorted(path.name for path in folder.iterdir() if (path / "config.json").exists())
    return [(part, name) for part in ("vae", "text_encoder") for name in names if name.startswith(part + "_")]


def prompts(model: str, scenes: int) -> list[str]:
    """The homework's three prompts and, on the emoji model, `scenes` more to measure on."""
    return PROMPTS if model != "emoji" else [*EMOJI_PROMPTS, *scene_prompts(scenes)]
