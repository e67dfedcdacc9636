"""From a prompt to a picture: Stable Diffusion's five components and a sampler of our own.

    prompt --tokenizer, text encoder--> context (B, L, D)
    seed --> noise z (B, C, h, w)
    z, context --sampler and U-Net, again and again--> latent x_0 (B, C, h, w)
    x_0 --VAE decoder--> picture (B, 3, H, W)

(Rombach et al. 2022, figure 3.) `render_image` is those four lines. The components are diffusers' and transformers' own, see
components.py; what happens between them is ours, and gives the picture that diffusers' StableDiffusionPipeline gives.
"""

from __future__ import annotations

import copy
import inspect
import math
import operator
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from course.components import Components, check_fit, load_components, prompt_length, setting, vae_factor
from course.flow import FlowSchedule, is_flow
from course.guidance import Pair, classifier_free
from course.names import did_you_mean
from course.pictures import captioned, enlarged, image_grid
from course.prediction import TO_X0, Denoise, as_eps
from course.samplers import FLOWS, SAMPLERS, TAUGHT, Sampler, Walk
from course.schedule import Level, NoiseSchedule

__all__ = ["SD_V1", "Components", "Snapshot", "image_grid", "load_components", "render_image", "trace_strip"]

# The noise schedule of Stable Diffusion 1 (scheduler/scheduler_config.json of CompVis/stable-diffusion-v1-4).
SD_V1 = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
         "set_alpha_to_one": False, "steps_offset": 1, "skip_prk_steps": True}


class Snapshot(NamedTuple):
    """What one model call saw: the latent x_t at time t, and the x_0 it points to. x, x0 (B, C, h, w), on the CPU."""

    t: float
    x: Tensor
    x0: Tensor


@torch.inference_mode()
def render_image(
    prompt: str | Sequence[str],
    vae: Any,
    unet: Any,
    tokenizer: Any,
    text_encoder: Any,
    scheduler: Any,
    height: int | None = None,
    width: int | None = None,
    guidance_scale: float = 7.5,
    num_steps: int = 50,
    seed: int | Sequence[int] = 42,
    *,
    negative_prompt: str | Sequence[str] | None = "",
    guidance_rescale: float = 0.0,
    schedule: NoiseSchedule | FlowSchedule | Mapping[str, Any] | None = None,
    progress: bool = True,
    callback: Callable[[int, float, Tensor], Any] | None = None,
    trace: list[Snapshot] | None = None,
    **options: Any,
) -> list[Image.Image]:
    """Render one picture per prompt.

    prompt            one prompt, or a list of them for a batch
    scheduler         one of our samplers by name (see SAMPLERS; FLOWS for a model that is a flow), a `Sampler`, or any diffusers
                      scheduler (a copy is used)
    height, width     in pixels, multiples of the VAE's factor (8 for Stable Diffusion); None: what the U-Net was trained at
    guidance_scale    eps = eps_negative + guidance_scale (eps_prompt - eps_negative); at 1 the negative prompt drops out and
                      is not computed. (The pipeline of diffusers also ignores it below 1; here the formula holds everywhere.)
    num_steps         from 1 to the number of training timesteps; what a step costs in model calls depends on the sampler
    seed              one number: one stream of noise for the whole batch, as when a pipeline is given one generator. A list:
                      each picture has its own stream and looks the same in any batch. One prompt with n seeds
                      makes n pictures, n prompts with one seed in a list all start from the same noise.
    negative_prompt   what to steer away from; one for all, or a list
    guidance_rescale  in [0, 1], tames the contrast of a large guidance_scale (Lin et al. 2024)
    schedule          the noise schedule and prediction type that the U-Net was trained with, as a NoiseSchedule or a scheduler
                      config, for our samplers only (a diffusers scheduler brings its own). None: what `load_components` found
                      beside this U-Net; for a U-Net that it did not load, Stable Diffusion 1's
    progress          show a progress bar
    callback          callback(i, t, x) before the i-th model call, with a copy of the latent x (B, C, h, w) it will see
    trace             a list to which each model call adds a `Snapshot`
    options           passed on to the sampler, such as eta for "ddim"

    The noise is drawn on the CPU by generators of our own, so a seed means the same on every device and the global random
    state is not touched. Components may sit on different devices and have different dtypes; the sampler works in float32.

    Raises ValueError for anything that cannot be rendered (with the reason), FloatingPointError when a network answers NaN.
    Warns when a prompt is too long and had to be cut, and when the prompt or another argument can have no influence.
    Scheduler and config are corrected as StableDiffusionPipeline corrects them, see `as_in_the_pipeline`.
    """
    check_fit(Components(vae, unet, tokenizer, text_encoder, scheduler))
    prompts, seeds = _batch(prompt, seed)
    negatives = _texts(negative_prompt or "", "negative_prompt")
    if len(negatives) not in (1, len(prompts)):
        raise ValueError(f"{len(negatives)} negative prompts for {len(prompts)} pictures; give one for all, or one each")
    if not math.isfinite(guidance_scale):
        raise ValueError(f"guidance_scale is {guidance_scale}; it must be a finite number")
    _say_what_has_no_influence(guidance_scale, guidance_rescale, negatives)
    plan = planned(scheduler, unet, schedule, needs_levels=trace is not None)
    steps = _whole(num_steps, "num_steps", 1, plan.most)
    h, w = (pixels // vae_factor(vae) for pixels in picture_size(height, width, unet, vae))

    context = encode_prompts(prompts, tokenizer, text_encoder)                            # (B, L, D)
    if guidance_scale != 1:
        negative = encode_prompts(negatives, tokenizer, text_encoder).expand_as(context)
        context = torch.cat([negative, context])                                          # (2B, L, D)
    device, dtype = _home(unet)
    noise, generator = _draw((len(prompts), setting(unet, "in_channels", 4), h, w), seeds, dtype)
    noise = noise.to(device)                                                              # (B, C, h, w)
    try:
        with tqdm(total=steps, disable=not progress) as bar:
            network = guided_network(unet, context, guidance_scale, guidance_rescale)
            network = watched_network(network, bar, callback, trace, plan.prediction_type)
            x0 = plan.sample(network, noise, steps, generator, **options)
            bar.update(steps - bar.n)
        return decode(x0, vae)                                                            # (B, C, h, w) -> B pictures
    except torch.OutOfMemoryError as error:
        factor = vae_factor(vae)
        raise MemoryError(f"{len(prompts)} pictures of {factor * h} x {factor * w} pixels do not fit into this device's "
                          "memory: render fewer at once, smaller ones, or in float16") from error


class Plan(NamedTuple):
    """How a U-Net is to be asked. sample(network, noise, steps, generator, **options) -> x_0; most: the largest number of steps."""

    sample: Callable[..., Tensor]
    prediction_type: str
    most: int


def planned(scheduler: Any, unet: Any, schedule: Any, needs_levels: bool = False) -> Plan:
    """What `render_image` does with its scheduler, given what the U-Net was trained with. needs_levels: alpha and sigma are asked for.

    Raises ValueError where sampler and model are of two kinds: one walks the line of a flow, the other a schedule of betas."""
    sampler, trained = pick_sampler(scheduler), schedule or getattr(unet, "trained_with", None)
    theirs = not isinstance(sampler, Sampler | Walk)
    flow = type(sampler).__name__.startswith("FlowMatch") if theirs else isinstance(sampler, Walk)
    if trained is not None and flow != is_flow(trained):
        name = type(sampler).__name__ if theirs else next(n for n, s in {**SAMPLERS, **FLOWS}.items() if s == sampler)
        raise ValueError(f"{name} walks a schedule of betas, and this model is a flow: take {', '.join(FLOWS)}" if not flow else
                         f"{name} walks a flow, and this model was trained on a schedule of betas: take one of {', '.join(TAUGHT)}")
    if theirs and not needs_levels:
        return Plan(partial(_sample_by_diffusers, lambda t: Level(t, None, None), sampler),
                    setting(sampler, "prediction_type", "epsilon"), setting(sampler, "num_train_timesteps", 1000))
    curve = _schedule(sampler.config if theirs else trained, flow)
    if theirs:
        return Plan(partial(_sample_by_diffusers, curve.at, sampler), curve.prediction_type, len(curve))
    if isinstance(curve, FlowSchedule):
        return Plan(partial(_sample_a_flow, sampler, curve), curve.prediction_type, len(curve))
    return Plan(lambda network, noise, steps, generator, **options: sampler.sample(
        as_eps(network, curve.prediction_type), noise, curve, steps, generator, **options), curve.prediction_type, len(curve))


def _sample_a_flow(walk: Walk, flow: FlowSchedule, network: Denoise, noise: Tensor, steps: int, generator: Any, **options: Any) -> Tensor:
    return walk.sample(network, noise, steps, generator, **{"num_train_timesteps": len(flow), "shift": flow.shift, **options})


# ------------------------------------------------------------------------------------------------ the four lines


def encode_prompts(prompts: Sequence[str], tokenizer: Any, text_encoder: Any) -> Tensor:
    """Prompts -> (B, L, D): a vector for each of the L tokens that a prompt is padded to.

    Stable Diffusion uses the last hidden layer of CLIP's text encoder. Warns, naming the lost words, when a prompt is cut.
    """
    length = prompt_length(tokenizer, text_encoder)
    prompts = [spelled_out(prompt, tokenizer) for prompt in prompts]
    tokens = tokenizer(prompts, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
    for prompt, whole in zip(prompts, tokenizer(prompts, verbose=False)["input_ids"], strict=True):
        if len(whole) > length:
            lost = tokenizer.decode(whole[length - 1 : -1])
            warnings.warn(f"the prompt has {len(whole) - 2} tokens and only {length - 2} fit; this part is ignored: {lost!r} "
                          f"(the prompt begins {prompt[:40]!r})", stacklevel=2)
    device, _ = _home(text_encoder)
    masked = setting(text_encoder, "use_attention_mask", False)
    return _tensor(text_encoder(tokens.input_ids.to(device),                              # (B, L) -> (B, L, D)
                                attention_mask=tokens.attention_mask.to(device) if masked else None))


def spelled_out(prompt: str, tokenizer: Any) -> str:
    """A word that textual inversion taught in several vectors (Gal et al. 2022) is a token for each: WORD becomes WORD WORD_1
    WORD_2. Other prompts are left as they are."""
    taught = getattr(tokenizer, "added_tokens_encoder", {})
    several = [word for word in taught if f"{word}_1" in taught]
    for word in several and set(tokenizer.tokenize(prompt)):
        if word in several:
            count = next(i for i in range(1, len(taught) + 1) if f"{word}_{i}" not in taught)
            prompt = prompt.replace(word, " ".join([word, *(f"{word}_{i}" for i in range(1, count))]))
    return prompt


def prompted_network(unet: Any, context: Tensor) -> Denoise:
    """The U-Net with its prompts as network(x, level) -> what it predicts. context (n B, L, D) asks about x (B, C, h, w) n times in
    one call, and n B answers come back. Raises FloatingPointError when they are not finite."""
    device, dtype = _home(unet)
    context = context.to(device, dtype)

    def predict(x: Tensor, level: Level) -> Tensor:
        copies = len(context) // len(x)
        x_in = torch.cat([x] * copies).to(dtype)
        output = _tensor(unet(x_in, level.t, encoder_hidden_states=context)).to(x.dtype)
        if not math.isfinite(output.detach().sum()):   # one number to look at: NaN and infinity both survive a sum
            cause = " Its input is not finite either: the sampler blew up before." if not x.isfinite().all() else (
                " The usual cause is float16: load the components with dtype=torch.float32."
                if dtype == torch.float16 else " Its weights may be damaged, or belong to another model.")
            raise FloatingPointError(f"the U-Net answered NaN or infinity at t = {float(level.t):g}.{cause}")
        return output

    return predict


def prediction_pair(unet: Any, context: Tensor) -> Pair:
    """pair(x, level) -> (for the negative prompts, for the prompts): context (2B, L, D) has the negative ones first, and one call on a
    doubled batch answers for both."""
    network = prompted_network(unet, context)

    def pair(x: Tensor, level: Level) -> tuple[Tensor, Tensor]:
        negative, positive = network(x, level).chunk(2)
        return negative, positive

    return pair


def guided_network(unet: Any, context: Tensor, guidance_scale: float, guidance_rescale: float = 0.0) -> Denoise:
    """The U-Net with its prompt and guidance as network(x, level) -> what the U-Net predicts, shaped like x.

    context is (B, L, D) without guidance; with it (2B, L, D), as `prediction_pair` takes it.
    """
    if guidance_scale == 1:
        return prompted_network(unet, context)
    return classifier_free(prediction_pair(unet, context), guidance_scale, guidance_rescale)


def decode_pixels(latents: Tensor, vae: Any) -> Tensor:
    """Latents (B, C, h, w) -> pictures (B, 3, H, W), in [-1, 1] but for what the decoder overshoots. The VAE was trained on latents of
    its own size; the U-Net on latents times scaling_factor, so that their variance is about 1 (Rombach et al. 2022, appendix G).

    Raises FloatingPointError when the VAE answers NaN or infinity.
    """
    device, dtype = _home(vae)
    z = latents.to(device, dtype) / setting(vae, "scaling_factor", 1.0)
    picture = _tensor(vae.decode(z))                                                      # (B, 3, H, W)
    if not picture.isfinite().all():
        cause = ("it runs in float16, which is the usual cause: give it float32 with vae.to(torch.float32), or load the "
                 "components with dtype=torch.float32" if dtype == torch.float16
                 else "its weights may be damaged, or belong to another model")
        raise FloatingPointError(f"the VAE decoded the latent to NaN or infinity; {cause}")
    return picture


def decode(latents: Tensor, vae: Any) -> list[Image.Image]:
    """Latents (B, C, h, w) -> B pictures: `decode_pixels`, rounded to 8 bits."""
    picture = (decode_pixels(latents, vae) / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).float().cpu()    # (B, H, W, 3), in [0, 1]
    return [Image.fromarray(pixels) for pixels in (picture * 255).round().to(torch.uint8).numpy()]


def _sample_by_diffusers(levels: Callable[[float], Level], scheduler: Any, network: Denoise, noise: Tensor, steps: int,
                         generator: Any, **options: Any) -> Tensor:
    """The same loop for a scheduler object of diffusers, with all that it asks for. Works on a copy of the scheduler."""
    scheduler = copy.deepcopy(scheduler)
    corrected = as_in_the_pipeline(scheduler.config)
    scheduler.register_to_config(**{name: corrected[name] for name in ("clip_sample", "steps_offset") if name in scheduler.config})
    scheduler.set_timesteps(steps)
    takes = inspect.signature(scheduler.step).parameters
    unknown = set(options) - set(takes)
    if unknown:
        raise ValueError(f"{type(scheduler).__name__}.step takes no {', '.join(sorted(unknown))}; it takes "
                         f"{', '.join(name for name in takes if name not in ('model_output', 'timestep', 'sample', 'return_dict'))}")
    if "generator" in takes:
        options["generator"] = generator
    if "eta" in takes:
        options.setdefault("eta", 0.0)               # as in the pipeline, whatever the class's own default (TCD: 0.3)
    x = noise * getattr(scheduler, "init_noise_sigma", 1.0)                        # a flow's schedulers scale nothing
    scaled = getattr(scheduler, "scale_model_input", lambda x, t: x)
    for t in scheduler.timesteps:
        output = network(scaled(x, t), levels(t.item()))
        x = scheduler.step(output, t, x, return_dict=False, **options)[0]
    return x


# ------------------------------------------------------------------------------------------------ watching


def watched_network(network: Denoise, bar: Any, callback: Callable[[int, float, Tensor], Any] | None = None,
                    trace: list[Snapshot] | None = None, prediction_type: str = "epsilon") -> Denoise:
    """The same network, with everyone told who wants to know. The bar moves when a time is met for the first time: a step of
    Heun's costs two calls, but is one step."""
    calls = 0
    seen: set[float] = set()

    def watched(x: Tensor, level: Level) -> Tensor:
        nonlocal calls
        if callback is not None:
            with torch.inference_mode(False), torch.no_grad():
                callback(calls, level.t, x.clone())          # an ordinary tensor, to keep and to change
        output = network(x, level)
        if trace is not None:
            x0 = TO_X0[prediction_type](output, x, level)
            with torch.inference_mode(False), torch.no_grad():
                trace.append(Snapshot(level.t, x.clone().cpu(), x0.clone().cpu()))
        calls += 1
        if level.t not in seen:
            seen.add(level.t)
            bar.update(len(seen) < bar.total)
        return output

    return watched


def trace_strip(trace: Sequence[Snapshot], vae: Any, columns: int = 8) -> Image.Image:
    """A strip of the denoising, noisy on the left: x_t decoded above, the x_0 that each call points to below.

    Shows up to `columns` of the times visited, evenly spread, the first and last among them; two rows for each picture.
    Raises ValueError for an empty trace.
    """
    if not trace:
        raise ValueError("the trace is empty: pass trace=[] (a list of your own) to render_image first")
    visited = list({snapshot.t: snapshot for snapshot in trace}.values())      # Heun and PNDM look at some times twice
    columns = max(1, min(columns, len(visited)))
    chosen = [visited[round(i * (len(visited) - 1) / max(columns - 1, 1))] for i in range(columns)]
    cells: list[Image.Image] = []
    for picture in range(len(chosen[0].x)):
        one = slice(picture, picture + 1)
        cells += [captioned(enlarged(decode(s.x[one], vae)[0]), f"t = {s.t:.0f}") for s in chosen]
        cells += [captioned(enlarged(decode(s.x0[one], vae)[0]), "predicted") for s in chosen]
    return image_grid(cells, len(cells) // columns, columns)


# ------------------------------------------------------------------------------------------------ reading the arguments


def pick_sampler(scheduler: Any) -> Any:
    """A name -> our Sampler; a Sampler or a diffusers scheduler as it is. Raises ValueError for anything else."""
    if isinstance(scheduler, str):
        every: dict[str, Any] = {**SAMPLERS, **FLOWS}
        if scheduler in every:
            return every[scheduler]
        elsewhere = next((name for name, sampler in every.items() if scheduler in (*sampler.also, sampler.theirs)), None)
        near = f", did you mean {elsewhere!r}?" if elsewhere else did_you_mean(scheduler, TAUGHT, every)
        raise ValueError(f"unknown sampler {scheduler!r}{near} There are {', '.join(every)}")
    if isinstance(scheduler, Sampler | Walk) or (hasattr(scheduler, "set_timesteps") and hasattr(scheduler, "step")):
        return scheduler
    raise ValueError(f"scheduler must be the name of a sampler or a diffusers scheduler; got a {type(scheduler).__name__}")


def _schedule(schedule: Any, flow: bool = False) -> NoiseSchedule | FlowSchedule:
    if isinstance(schedule, NoiseSchedule | FlowSchedule):
        return schedule
    if flow:
        return FlowSchedule() if schedule is None else FlowSchedule.from_config(schedule)
    return NoiseSchedule.from_config(as_in_the_pipeline(SD_V1 if schedule is None else schedule))


def as_in_the_pipeline(config: Mapping[str, Any]) -> dict[str, Any]:
    """A scheduler's config with the corrections that StableDiffusionPipeline makes before it runs (diffusers 0.42.1,
    `__init__`): `clip_sample` off, because latents are no pixels in [-1, 1], and `steps_offset` 1 for every class that has one,
    because Stable Diffusion was trained so. And a config that is silent about PNDM's Runge-Kutta start means that there is one."""
    config = dict(config)
    filled_in = list(config.get("_use_default_values", ()))
    if config.get("clip_sample"):
        config["clip_sample"] = False
    config["steps_offset"] = 1
    config.setdefault("skip_prk_steps", False)
    config["_use_default_values"] = [name for name in filled_in if name not in ("clip_sample", "steps_offset", "skip_prk_steps")]
    return config


def _say_what_has_no_influence(guidance_scale: float, guidance_rescale: float, negatives: Sequence[str]) -> None:
    """Warn of arguments that are legal and do nothing."""
    if guidance_scale == 0:
        warnings.warn("at guidance_scale 0 only the negative prompt counts and the prompt has no influence. Model cards that say "
                      "0 mean diffusers' pipeline, which takes every scale up to 1 as 1: give guidance_scale=1 for that",
                      stacklevel=3)
    elif 0 < guidance_scale < 1:
        warnings.warn(f"at guidance_scale {guidance_scale} prompt and negative prompt are mixed; diffusers' pipeline takes every "
                      "scale up to 1 as 1", stacklevel=3)
    elif guidance_scale == 1:
        idle = [name for name, given in [("negative_prompt", any(negatives)), ("guidance_rescale", guidance_rescale)] if given]
        if idle:
            warnings.warn(f"at guidance_scale 1 there is no guidance: {' and '.join(idle)} have no influence"
                          if len(idle) > 1 else f"at guidance_scale 1 there is no guidance: {idle[0]} has no influence", stacklevel=3)


def _texts(text: str | Sequence[str], name: str) -> list[str]:
    texts = [text] if isinstance(text, str) or not isinstance(text, Sequence) else list(text)
    if not texts or not all(isinstance(each, str) for each in texts):
        raise ValueError(f"{name} must be a string or a list of strings, at least one; got {text!r}")
    return texts


def _batch(prompt: str | Sequence[str], seed: int | Sequence[int]) -> tuple[list[str], int | list[int]]:
    """One prompt per picture, and one seed for all or one per picture."""
    prompts = _texts(prompt, "prompt")
    if not isinstance(seed, Sequence):
        return prompts, _whole(seed, "seed", 0, 2**64 - 1)
    seeds = [_whole(one, "seed", 0, 2**64 - 1) for one in seed]
    count = max(len(prompts), len(seeds))
    if not seeds or len(prompts) not in (1, count) or len(seeds) not in (1, count):
        raise ValueError(f"{len(prompts)} prompts and {len(seeds)} seeds do not pair: give as many of both, or one of either")
    return prompts * (count // len(prompts)), seeds * (count // len(seeds))


def _whole(number: Any, name: str, low: int, high: int) -> int:
    try:
        whole = operator.index(number)
    except TypeError:
        whole = None
    if whole is None or isinstance(number, bool) or not low <= whole <= high:
        raise ValueError(f"{name} must be a whole number from {low} to {high}; got {number!r}")
    return whole


def trained_size(unet: Any) -> Any:
    """The latent's size the U-Net was trained at: cells, or (rows, columns). Configs written before diffusers 0.9 say 32 for
    models that were trained at 64; the pipeline knows, and so do we."""
    size, version = setting(unet, "sample_size") or 64, setting(unet, "_diffusers_version")
    if isinstance(size, int) and size < 64 and version is not None:
        from packaging.version import InvalidVersion, parse

        try:
            if parse(parse(str(version)).base_version) < parse("0.9.0.dev0"):
                return 64
        except InvalidVersion:
            pass
    return size


def picture_size(height: int | None, width: int | None, unet: Any, vae: Any) -> tuple[int, int]:
    """Height and width in pixels; where None, what the U-Net was trained at. (The pipeline takes both from the U-Net when one is
    missing.) Raises ValueError unless they are multiples of the VAE's factor."""
    factor = vae_factor(vae)
    trained = trained_size(unet)
    trained_h, trained_w = trained if isinstance(trained, list | tuple) else (trained, trained)
    sizes = []
    for name, pixels, cells in [("height", height, trained_h), ("width", width, trained_w)]:
        pixels = factor * cells if pixels is None else _whole(pixels, name, factor, 2**16)
        if pixels % factor:
            down, up = pixels // factor * factor, (pixels // factor + 1) * factor
            raise ValueError(f"{name} {pixels} is not a multiple of {factor}, the VAE's factor; {down} and {up} are")
        sizes.append(pixels)
    return sizes[0], sizes[1]


def _draw(shape: tuple[int, ...], seeds: int | list[int], dtype: torch.dtype) -> tuple[Tensor, Any]:
    """Standard normal noise and the generator (or list of them) to draw more from. Drawn in the U-Net's dtype like
    diffusers does, so the seeds agree, then float32 for the sampler."""
    if isinstance(seeds, int):
        generator = torch.Generator().manual_seed(seeds)
        return torch.randn(shape, generator=generator, dtype=dtype).float(), generator
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return torch.cat([torch.randn((1, *shape[1:]), generator=g, dtype=dtype) for g in generators]).float(), generators


def _home(module: Any) -> tuple[torch.device, torch.dtype]:
    """Where a network's weights are, and what they are stored as."""
    weights = module.parameters() if hasattr(module, "parameters") else []
    weight = next((w for w in weights if w.is_floating_point()), torch.zeros(()))
    return weight.device, weight.dtype


def _tensor(output: Any) -> Tensor:
    """A network's answer: the tensor itself, or the first entry of the record that diffusers and transformers return."""
    return output if torch.is_tensor(output) else output[0]
