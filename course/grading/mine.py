"""`course render --mine`: the pipeline with the student's own functions in place of the course's.

A part is the student's if its task passes its checks, and the course's otherwise; the list of parts says which is which.
The student's samplers know a noise level by its alpha_bar and the course's networks know it by a `Level`; `Grid` is the only
place where the two meet. Runs the student's code in this process: for one's own files only.
"""

from __future__ import annotations

import copy
import functools
import math
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from course.components import Components, prompt_length, setting, vae_factor
from course.grading.manifest import EXERCISES, Task, load_tasks
from course.grading.progress import run
from course.grading.student import handed_in_at
from course.nets.blocks import ResBlock, one_each
from course.nets.text_encoder import TextEncoder
from course.nets.tokenizer import Tokenizer, split
from course.nets.unet import FeedForward, UNet, timestep_embedding
from course.pictures import image_grid, save_picture
from course.prediction import as_eps
from course.render import (
    Recipe,
    grid_shape,
    largest_difference,
    quiet_libraries,
    render_ours,
    save_each,
    side_by_side,
    writable,
)
from course.samplers import SAMPLERS, Sampler, ddpm, fresh_noise, transfer, weighted
from course.schedule import Level, NoiseSchedule
from course.stable_diffusion import (
    _home,
    _tensor,
    as_in_the_pipeline,
    encode_prompts,
    guided_network,
    pick_sampler,
    picture_size,
)

# The task that paints whole trajectories, and the one that makes a single step of them.
WHOLE = {"ddim": "ch06.ddim_sample", "euler": "ch06.ddim_sample", "pndm": "ch06.plms_sample", "heun": "ch06.heun_sample",
         "dpmpp_2m": "ch06.dpmpp_2m_sample"}
SINGLE = {"ddim": "ch06.ddim_step", "euler": "ch06.ddim_step", "ddpm": "ch06.ddpm_step", "euler_ancestral": "ch06.ddpm_step",
          "lms": "ch06.lms_weights"}


class Part(NamedTuple):
    """One function that the picture passed through: whose it is, and why."""

    task: str
    yours: bool
    why: str

    def __str__(self) -> str:
        owner = "yours" if self.yours else "the course's"
        return f"{self.task.split('.')[1]:<22} {owner:<13} {self.why}"


class Parts:
    """The student's functions by task id, as far as they pass their checks; `used` lists what was asked for.

    only: names of tasks ("resnet_block"), to use these and no others.
    """

    def __init__(self, folder: Path = EXERCISES, seed: int = 0, only: Collection[str] | None = None) -> None:
        self.folder, self.seed = folder, seed
        self.only = None if only is None else frozenset(only)
        self.tasks: dict[str, Task] = load_tasks()
        self.used: dict[str, Part] = {}

    def get(self, task: str) -> Callable[..., Any] | None:
        """The student's function, or None where the course has to step in: also where this course has no such task."""
        if task not in self.tasks:
            return None
        if task not in self.used and self.only is not None and task.split(".")[1] not in self.only:
            self.used[task] = Part(task, False, "not asked for")
        elif task not in self.used:
            result = run([task], self.folder, self.seed)[task]
            why = {"passed": "passes its checks", "failed": f"yours fails its checks: course check {task}",
                   "not_attempted": "not attempted yet"}[result.status]
            self.used[task] = Part(task, result.status == "passed", why)
        return self.function(task) if self.used[task].yours else None

    def unknown(self) -> list[str]:
        """Names in `only` that no task has."""
        return sorted((self.only or frozenset()) - {task.split(".")[1] for task in self.tasks})

    def one_after_another(self) -> Iterator[tuple[str, Parts]]:
        """The student's parts that were used: the first alone, the first two, and so on, each with the name of the last."""
        yours = [task for task, part in self.used.items() if part.yours]
        for i, task in enumerate(yours):
            some = Parts(self.folder, self.seed, [t.split(".")[1] for t in yours[: i + 1]])
            some.used = {t: self.used[t] for t in yours[: i + 1]}
            yield task.split(".")[1], some

    def function(self, task: str) -> Callable[..., Any]:
        """The function, with what goes wrong inside it said as the student's own error."""
        path = self.folder / f"{self.tasks[task].chapter}.py"
        name = task.split(".")[1]
        function = getattr(handed_in_at(self.folder).module(path.name), name)

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                return function(*args, **kwargs)
            except (ValueError, FloatingPointError, MemoryError):
                raise
            except Exception as error:
                raise ValueError(f"your {name} in {path.name} raised {type(error).__name__}: {error}") from error
        return call


class Grid:
    """A list of levels, each also known by its alpha_bar, a float."""

    def __init__(self, levels: list[Level]) -> None:
        self.levels = levels
        self.alpha_bars = [1.0 if level.sigma == 0 else float(level.alpha) ** 2 for level in levels]

    def level(self, alpha_bar: Any) -> Level:
        """The level that an alpha_bar means. Raises ValueError for one that is not in the grid."""
        wanted = float(alpha_bar)
        nearest = min(range(len(self.levels)), key=lambda i: abs(self.alpha_bars[i] - wanted))
        if abs(self.alpha_bars[nearest] - wanted) > 1e-5:
            raise ValueError(f"your sampler asked the network about alpha_bar = {wanted:.6g}, which is not a level of its grid")
        return self.levels[nearest]


@torch.no_grad()
def render_mine(components: Components, recipe: Recipe, parts: Parts, calls: list[int] | None = None) -> list[Image.Image]:
    """One picture per seed, out of the student's parts where there are any. `calls`, if given, counts model calls in calls[0].

    Raises what `render_image` raises, and ValueError naming the function when one of the student's fails.
    """
    chosen = pick_sampler(recipe.sampler)
    if not isinstance(chosen, Sampler):
        raise ValueError("--mine needs one of the course's samplers by name")
    vae, unet, tokenizer, text_encoder, scheduler = my_networks(components, parts)
    schedule = my_schedule(scheduler.config, parts)
    grid = Grid(my_levels(chosen, schedule, recipe.steps, parts))

    h, w = (pixels // vae_factor(vae) for pixels in picture_size(recipe.height, recipe.width, unet, vae))
    shape = (setting(unet, "in_channels", 4), h, w)
    generators = [torch.Generator().manual_seed(seed) for seed in recipe.seeds]
    noise = fresh_noise(torch.empty(len(generators), *shape), generators)      # drawn in any case: ddpm goes on from there
    if draw := parts.get("ch10.initial_noise"):
        noise = draw(list(recipe.seeds), shape)
    x = chosen.start(noise.to(_home(unet)[0]), schedule, grid.levels[0])                        # (B, C, h, w)

    def network(x: Tensor, alpha_bar: Any, context: Tensor) -> Tensor:
        """The U-Net's eps for contexts that pair with x one by one."""
        if calls is not None:
            calls[0] += 1
        return as_eps(guided_network(unet, context, 1.0), schedule.prediction_type)(x, grid.level(alpha_bar))

    to_ids = parts.get("ch09.token_ids") if isinstance(tokenizer, Tokenizer) else None

    def encode(texts: list[str]) -> Tensor:
        texts = [text or recipe.negative for text in texts]
        if to_ids is None or not "".join(texts).isascii():                 # the exercise is for words of ASCII letters
            return encode_prompts(texts, tokenizer, text_encoder)
        merges = [list(pair) for pair in sorted(tokenizer.rank, key=tokenizer.rank.__getitem__)]
        ids = [to_ids(split(text), merges, tokenizer.vocabulary, prompt_length(tokenizer, text_encoder)) for text in texts]
        return _tensor(text_encoder(torch.tensor(ids, device=_home(text_encoder)[0])))              # (B, L) -> (B, L, D)

    factor = setting(vae, "scaling_factor", 1.0)

    def decode(latents: Tensor) -> Tensor:
        device, dtype = _home(vae)
        return _tensor(vae.decode(latents.to(device, dtype))).float().cpu()          # (B, 3, H, W)

    loop = parts.get("ch10.render_image") if chosen.run is SAMPLERS["ddim"].run else None
    if loop:
        pixels = torch.cat([loop(prompt, encode, network, decode, x[i:i + 1], grid.alpha_bars, recipe.guidance, factor)
                            for i, prompt in enumerate(recipe.prompts)])
    else:
        texts = list(dict.fromkeys(recipe.prompts))
        contexts = encode(["", *texts])                                                       # (1 + texts, L, D)
        positive = contexts[[1 + texts.index(prompt) for prompt in recipe.prompts]]           # (B, L, D)
        denoise = my_guidance(network, contexts[:1].expand_as(positive), positive, recipe.guidance, parts)
        x0 = my_sampler(recipe.sampler, chosen, denoise, x, grid, generators, parts,
                        chosen.arguments(schedule, chosen.options(schedule)))
        images = decode(x0 / factor)
        if not images.isfinite().all():
            raise FloatingPointError("the picture came out as NaN or infinity")
        to_pixels = parts.get("ch10.to_uint8")
        pixels = (to_pixels or _to_uint8)(images)                                             # (B, H, W, 3)
    return [Image.fromarray(picture.contiguous().numpy()) for picture in pixels]


def _to_uint8(images: Tensor) -> Tensor:
    return ((images / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)


# Our name of a weight in a block -> the published one, which the exercises use.
PUBLISHED = {"resnet_block": {"time": "time_emb_proj", "skip": "conv_shortcut"},
             "cross_attention": {"q": "to_q", "k": "to_k", "v": "to_v", "out": "to_out.0"},
             "causal_attention": {name: f"{name}_proj" for name in ("q", "k", "v", "out")},
             "geglu": {"wide": "net.0.proj", "narrow": "net.2"}}


def published(block: Any, task: str) -> dict[str, Tensor]:
    """The weights of a block by their published names."""
    names = PUBLISHED[task]
    return {f"{names.get(layer, layer)}.{kind}": weight for name, weight in block.state_dict().items()
            for layer, kind in [name.rsplit(".", 1)]}


def my_networks(components: Components, parts: Parts) -> Components:
    """The networks with the student's blocks in them, if they are the course's; the weights stay where they are."""
    if not isinstance(getattr(components.unet, "net", None), UNet):
        return components
    unet, text_encoder = (copy.copy(part) for part in (components.unet, components.text_encoder))
    unet._modules, text_encoder._modules = ({"net": copy.deepcopy(part.net, {id(w): w for w in part.net.parameters()})}
                                           for part in (unet, text_encoder))
    if isinstance(text_encoder.net, TextEncoder) and (attend := parts.get("ch09.causal_attention")):
        layers: Any = text_encoder.net.layers
        for layer in layers:
            layer.attention.forward = partial(_answered, attend, (published(layer.attention, "causal_attention"), layer.attention.heads))
    my_unet(unet.net, parts)
    return components._replace(unet=unet, text_encoder=text_encoder)


def _answered(function: Callable[..., Tensor], behind: tuple[Any, ...], *inputs: Tensor) -> Tensor:
    return function(*inputs, *behind)


def _told(block: Callable[..., Tensor], raw: dict[str, Tensor], weights: dict[str, Tensor], groups: int, x: Tensor,
          time: Tensor) -> Tensor:
    return block(x, raw["time"], weights, groups)


def my_unet(net: Any, parts: Parts) -> None:
    """Put the student's clock, blocks and frame into the U-Net."""
    raw: dict[str, Tensor] = {}                        # the time before silu: the exercise's block applies it itself
    net.time.register_forward_hook(lambda module, arguments, output: raw.__setitem__("time", output))
    for name, module in list(net.named_modules()):
        if isinstance(module, ResBlock) and (block := parts.get("ch09.resnet_block")):
            module.forward = partial(_told, block, raw, published(module, "resnet_block"), module.norm1.num_groups)      # type: ignore[method-assign]
        elif isinstance(module, FeedForward) and (geglu := parts.get("ch09.geglu")):
            module.forward = partial(_answered, geglu, (published(module, "geglu"),))      # type: ignore[method-assign]
        elif name.endswith("cross_attention") and (cross := parts.get("ch09.cross_attention")):
            module.forward = partial(_answered, cross, (published(module, "cross_attention"), module.heads))
        elif name.endswith("self_attention") and (heads_of := parts.get("ch09.multi_head_attention")):
            module.forward = lambda x, m=module, heads_of=heads_of: m.out(heads_of(m.q(x), m.k(x), m.v(x), m.heads))
    if clock := parts.get("ch09.timestep_embedding"):
        net.register_forward_pre_hook(lambda module, arguments: raw.__setitem__("t", one_each(arguments[1], arguments[0])))
        net.time.register_forward_pre_hook(lambda module, arguments: clock(raw["t"], arguments[0].shape[1]).to(arguments[0].dtype))
    if frame := parts.get("ch09.down_and_up"):
        net.forward = partial(_framed, net, frame)      # type: ignore[method-assign]


def _framed(net: Any, frame: Callable[..., Tensor], x: Tensor, t: Any, context: Tensor) -> Tensor:
    """The U-Net's forward with the student's frame around its blocks."""
    time = F.silu(net.time(timestep_embedding(one_each(t, x), net.conv_in.out_channels).to(x.dtype)))
    ups = list(net.up)[::-1]
    x = frame(net.conv_in(x), len(net.down), len(net.down[0].resnets), lambda level, i, x: net.down[level].block(i, x, time, context),
              lambda level, x: net.down[level].resize(x), lambda x: net.mid(x, time, context),
              lambda level, i, x: ups[level].block(i, x, time, context), lambda level, x: ups[level].resize(x))
    return net.conv_out(F.silu(net.norm_out(x)))


def my_schedule(config: Any, parts: Parts) -> NoiseSchedule:
    """The model's noise schedule, with the student's betas and running products."""
    schedule = NoiseSchedule.from_config(as_in_the_pipeline(config))
    betas, table = schedule.betas, schedule.alphas_cumprod
    make_betas = parts.get("ch03.scaled_linear_betas") if config.get("beta_schedule") == "scaled_linear" else None
    if make_betas:
        betas = make_betas(config["beta_start"], config["beta_end"], len(betas))
    product = parts.get("ch03.alphas_cumprod")
    if product or make_betas:
        table = product(betas) if product else torch.cumprod(1 - betas, 0)
        betas = 1 - table / torch.cat([torch.ones(1), table[:-1]])         # the betas that this table stands for
    return replace(schedule, betas=betas.clamp(0, 1))


def my_levels(sampler: Sampler, schedule: NoiseSchedule, steps: int, parts: Parts) -> list[Level]:
    """The sampler's grid, laid through the student's timesteps where the sampler's spacing is an exercise."""
    levels = sampler.grid(schedule, steps)
    spacing = schedule.timestep_spacing or sampler.spacing
    times: Any = None
    if spacing == "leading" and (leading := parts.get("ch06.leading_timesteps")):
        offset = int(levels[-2].t)      # what the course's grid has, also where it must give way
        times = leading(steps, len(schedule), offset)
    elif spacing == "linspace" and not sampler.whole and (linspace := parts.get("ch06.linspace_timesteps")):
        times = linspace(steps, len(schedule))
    elif sampler.extra_step and spacing == "linspace" and steps < len(schedule) and (rounded := parts.get("ch06.rounded_timesteps")):
        times = rounded(steps, len(schedule))
    levels = levels if times is None else schedule.levels(times, levels[-1])
    if any(level.t != int(level.t) for level in levels) and (ratio_at := parts.get("ch06.ratio_at")):
        for i, (t, _, _) in enumerate(levels[:-1]):
            ratio = ratio_at(t, schedule.alphas_cumprod)
            levels[i] = Level(t, 1 / math.sqrt(1 + ratio**2), ratio / math.sqrt(1 + ratio**2))
    return levels


def my_guidance(network: Callable[..., Tensor], negative: Tensor, positive: Tensor, scale: float,
                parts: Parts) -> Callable[[Tensor, Any], Tensor]:
    """denoise(x, alpha_bar) -> eps, guided by the student as far as possible; at scale 1 there is nothing to guide."""
    if scale == 1:
        return lambda x, alpha_bar: network(x, alpha_bar, positive)
    if whole := parts.get("ch08.guided_noise"):
        return lambda x, alpha_bar: whole(network, x, alpha_bar, negative, positive, scale)
    mix = parts.get("ch08.guide") or (lambda u, c, scale: u + scale * (c - u))

    def denoise(x: Tensor, alpha_bar: Any) -> Tensor:
        u, c = network(torch.cat([x, x]), alpha_bar, torch.cat([negative, positive])).chunk(2)
        return mix(u, c, scale)

    return denoise


def my_sampler(name: str, sampler: Sampler, denoise: Callable[[Tensor, Any], Tensor], x: Tensor, grid: Grid,
               generators: list[torch.Generator], parts: Parts, arguments: dict[str, Any]) -> Tensor:
    """The student's sampler; else the course's loop around the student's step; else the course's sampler."""
    def known(x: Tensor, level: Level) -> Tensor:
        return denoise(x, 1.0 if level.sigma == 0 else float(level.alpha) ** 2)

    def draw() -> Tensor:
        return fresh_noise(x, generators)

    if (task := WHOLE.get(name)) and (whole := parts.get(task)):
        return whole(denoise, x, grid.alpha_bars)
    step = parts.get(SINGLE[name]) if name in SINGLE else None
    if step is None:
        return sampler.run(known, x, grid.levels, draw, **arguments)
    past: list[Tensor] = []
    ratios = [level.ratio for level in grid.levels]
    for i, (now, next) in enumerate(zip(grid.alpha_bars[:-1], grid.alpha_bars[1:], strict=True)):
        eps = denoise(x, now)
        if name == "lms":
            past = [eps, *past[:3]]
            weights = [w / (ratios[i + 1] - ratios[i]) for w in step(ratios, i, 4)]
            x = transfer(x, weighted(weights, past), grid.levels[i], grid.levels[i + 1])
        elif sampler.run is ddpm:
            x = step(x, eps, now, next, draw())
        else:
            x = step(x, eps, now, next)
    return x


def render_mine_to_files(recipe: Recipe, out: Path, compare: bool = False, folder: Path = EXERCISES, only: Collection[str] | None = None,
                         each: bool = False) -> None:
    """Render with the student's parts into `out`, and say whose each part was.

    `only`: the names of the tasks to use, and no others. `compare` puts the course's picture beside it. `each` replaces the
    course's parts one after another and says how far the picture is from the course's after each. Raises what `render_mine`
    raises, OSError when the file cannot be written.
    """
    pick_sampler(recipe.sampler)
    writable(out)
    quiet_libraries()
    parts = Parts(folder, only=only)
    if unknown := parts.unknown():
        raise ValueError(f"there is no task {', '.join(unknown)}; the names are those after the dot, such as resnet_block")
    try:
        components = recipe.load(nets="course")
    except ValueError as reason:
        print(f"note: your blocks of chapter 9 cannot be used here: {reason}")
        components = recipe.load(nets="diffusers")
    calls, start = [0], time.perf_counter()
    pictures = render_mine(components, recipe, parts, calls)
    print(f"mine: {recipe.sampler}, {recipe.steps} steps, {calls[0]} model calls, {time.perf_counter() - start:.1f} s")
    whole = my_image_grid(pictures, parts) if len(pictures) > 1 else pictures[0]
    theirs = render_ours(components, recipe) if compare or each else []
    if compare:
        print(f"largest difference from the course's picture: {largest_difference(pictures, theirs)} of 255")
        whole = side_by_side(recipe, {"mine": pictures, "course": theirs})
    mine = sum(part.yours for part in parts.used.values())
    print(f"{mine} of {len(parts.used)} parts are yours:")
    for part in parts.used.values():
        print(f"  {part}")
    if each:
        print("the largest difference from the course's picture, of 255, with one part after another replaced by yours:")
        for name, some in parts.one_after_another():
            print(f"  {name:<22} {largest_difference(render_mine(components, recipe, some), theirs)}")
    if not compare:
        save_each(recipe, pictures, out)
    print(save_picture(whole, out, **recipe.about()))


def my_image_grid(pictures: list[Image.Image], parts: Parts) -> Image.Image:
    """All pictures in the most nearly square grid, laid out by the student."""
    rows, columns = grid_shape(len(pictures))
    lay = parts.get("ch10.image_grid")
    if lay is None:
        return image_grid(pictures, rows, columns)
    stacked = torch.stack([torch.from_numpy(np.array(picture)) for picture in pictures])       # (B, H, W, 3)
    return Image.fromarray(lay(stacked, rows, columns).contiguous().numpy())
