"""Checks of exercises/ch10_pipeline.py."""

import itertools
import math
import types
from pathlib import Path

import torch

from course.grading import task
from course.grading.checks import (
    Counted,
    expect,
    expect_calls,
    expect_close,
    expect_equal,
    expect_raises,
    expect_tensor,
    expect_type,
)
from course.grading.errors import KNOWN
from course.grading.written import expect_written
from course.samplers import transfer
from course.schedule import CLEAN, Level

ANSWERS = Path(__file__).parent / "answers"


@task("ch10.initial_noise")
def test_initial_noise(student):
    seeds, shape = [42, 70, 42, student.seed % 1000], (4, 6, 5)

    def draw(seed):
        return torch.Generator().manual_seed(seed)

    right = torch.stack([torch.randn(shape, generator=draw(s)) for s in seeds])
    one = draw(seeds[0])
    got = student.initial_noise(seeds, shape)
    expect_close(got, right, f"initial_noise for the seeds {seeds}", {
        "every image was drawn from the first seed, one after the other; each has a seed of its own":
            lambda: torch.stack([torch.randn(shape, generator=one) for _ in seeds]),
        "every image got the same noise": lambda: right[:1].expand_as(right),
        "the numbers are uniform; torch.rand is not torch.randn": lambda: torch.stack([torch.rand(shape, generator=draw(s)) for s in seeds]),
        "the generators are kept by seed, so that the second 42 goes on where the first stopped": lambda: torch.stack([
            right[0], right[1], second(42, shape), right[3]]),
        "the seeds were sorted": lambda: torch.stack([torch.randn(shape, generator=draw(s)) for s in sorted(seeds)]),
        "the seeds were counted up from the first": lambda: torch.stack([torch.randn(shape, generator=draw(seeds[0] + i)) for i in range(4)]),
    })


def second(seed, shape):
    generator = torch.Generator().manual_seed(seed)
    torch.randn(shape, generator=generator)
    return torch.randn(shape, generator=generator)


@task("ch10.initial_noise")
def test_an_image_does_not_depend_on_its_batch(student):
    batch, alone = student.initial_noise([3, 9], (2, 4, 4)), student.initial_noise([9], (2, 4, 4))
    expect_tensor(alone, (1, 2, 4, 4), what="initial_noise for one seed")
    expect_close(batch[1:], alone, "initial_noise for seed 9 in a batch, against seed 9 alone,")


def pixels(images, layout=(0, 2, 3, 1), how=torch.round, add=0.5, clip=True, factor=255.0):
    images = images / 2 + add
    return how((images.clamp(0, 1) if clip else images) * factor).to(torch.uint8).permute(layout)


@task("ch10.to_uint8")
def test_to_uint8(student):
    # the first so that a wrong layout keeps its shape; grey pictures and pictures with transparency
    for shape, dtype in (((3, 3, 3, 3), torch.float32), ((2, 3, 4, 5), torch.float64), ((1, 1, 2, 7), torch.float32), ((2, 4, 3, 2), torch.float32)):
        images = student.rand(*shape, low=-1.3, high=1.3).to(dtype)
        images = (images * 400).round() / 400 + 0.0007                # nowhere half way between two whole numbers
        x = images / 2 + 0.5
        expect_close(student.to_uint8(images), pixels(images), f"to_uint8 with images of shape {shape}", {
            "the values are cut off, not rounded": lambda: pixels(images, how=torch.floor),
            "values below -1 and above 1 wrap around; clip before turning them into bytes":
                lambda: (x * 255).round().to(torch.int64).remainder(256).to(torch.uint8).permute(0, 2, 3, 1),
            "the images run from -1 to 1; they were taken to run from 0 to 1": lambda: (images.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1),
            "the factor is 255, not 256": lambda: (x.clamp(0, 1) * 256).round().to(torch.int64).remainder(256).to(torch.uint8).permute(0, 2, 3, 1),
            "height and width are swapped": lambda: pixels(images, (0, 3, 2, 1)),
            "the channels still come second; they come last": lambda: pixels(images, (0, 1, 2, 3)),
            "reshape does not move the channels to the end; permute does": lambda: pixels(images, (0, 1, 2, 3)).reshape(shape[0], *shape[2:], shape[1]),
            "the images were stretched to their own smallest and largest value": lambda: ((images - images.min()) / (images.max() - images.min()) * 255)
                .round().to(torch.uint8).permute(0, 2, 3, 1),
        })


@task("ch10.to_uint8")
def test_to_uint8_at_the_ends(student):
    images = torch.tensor([-1.0, 1.0, -5.0, 5.0, 0.004, -0.998]).view(1, 1, 2, 3).expand(1, 3, 2, 3).contiguous()
    got = student.to_uint8(images)
    expect_tensor(got, (1, 2, 3, 3), torch.uint8, "to_uint8")
    for entry, value in zip(got[0, :, :, 0].reshape(-1).tolist(), (0, 255, 0, 255, 128, 0), strict=True):
        expect_equal(entry, value, f"the byte of one of {images[0, 0].reshape(-1).tolist()}")


@task("ch10.image_grid")
def test_image_grid(student):
    for count, rows, columns, height, width, channels in ((4, 2, 2, 3, 3, 3), (6, 2, 3, 4, 5, 3), (3, 3, 1, 2, 4, 1), (3, 1, 3, 2, 4, 4), (1, 1, 1, 5, 2, 3)):
        images = (student.rand(count, height, width, channels) * 255).to(torch.uint8)

        def place(row, column, images=images, rows=rows, columns=columns, height=height, width=width, channels=channels):
            out = torch.zeros(rows * height, columns * width, channels, dtype=torch.uint8)
            for i, image in enumerate(images):
                r, c = row(i), column(i)
                out[r * height:(r + 1) * height, c * width:(c + 1) * width] = image
            return out

        known = {
            "the images run down the columns; they run along the rows": lambda: place(lambda i: i % rows, lambda i: i // rows),
            "the rows are upside down": lambda: place(lambda i: rows - 1 - i // columns, lambda i: i % columns),
            "the rows run from right to left": lambda: place(lambda i: i // columns, lambda i: columns - 1 - i % columns),
            "reshape alone does not put images side by side: their rows of pixels have to be moved first (permute)":
                lambda: images.reshape(rows * height, columns * width, -1),
            "every place shows the first image, as with imgs[0]": lambda: place(lambda i: i // columns, lambda i: i % columns, images[:1].expand_as(images)),
        }
        if rows == columns and height == width:
            known["each image was transposed"] = lambda images=images: place(lambda i: i // columns, lambda i: i % columns, images.transpose(1, 2))
        expect_close(student.image_grid(images, rows, columns), place(lambda i: i // columns, lambda i: i % columns),
                     f"image_grid of {count} images in {rows} rows and {columns} columns", known)


@task("ch10.image_grid")
def test_image_grid_counts(student):
    images = torch.zeros(5, 2, 2, 3, dtype=torch.uint8)
    expect_raises(student.image_grid, images, 2, 3, what="image_grid of 5 images in 2 rows and 3 columns")
    expect_raises(student.image_grid, images, 2, 2, what="image_grid of 5 images in 2 rows and 2 columns")
    expect_raises(student.image_grid, images, 0, 5, what="image_grid of 5 images in 0 rows and 5 columns")


# ----------------------------------------------------------------------------------------------------------- real parts


@task("ch10.decode_latents")
def test_decode_latents(student):
    def fake(z):
        return types.SimpleNamespace(sample=torch.tanh(z[:, :3]).repeat_interleave(2, 2).repeat_interleave(2, 3))

    # a stand-in of the same interface, with the factors of several models: 0.18215 is Stable Diffusion's only
    for factor, shape in ((0.7, (2, 4, 3, 5)), (0.18215, (1, 4, 2, 2)), (0.13025, (1, 3, 4, 4))):
        check_decode(student, fake, factor, student.randn(*shape), f"decode_latents with an autoencoder whose scaling_factor is {factor}")


@task("ch10.decode_latents")
def test_decode_latents_with_the_real_autoencoder(student):
    from course.components import load_components

    vae = load_components("emoji", device="cpu").vae

    def decode(z):
        with torch.no_grad():
            return types.SimpleNamespace(sample=vae.decode(z).sample)

    latents = 0.9 * student.randn(1, vae.config.latent_channels, 8, 8)
    check_decode(student, decode, float(vae.config.scaling_factor), latents, "decode_latents with the autoencoder that ships")


def check_decode(student, decode, factor, latents, what):
    model = Counted(decode)
    vae = types.SimpleNamespace(decode=model, config=types.SimpleNamespace(scaling_factor=factor))
    got = student.decode_latents(vae, latents)
    expect_calls(model, 1, what)
    right = pixels(decode(latents / factor).sample)
    expect_tensor(got, right.shape, torch.uint8, what)
    known = {
        "the factor is typed in, 0.18215; it is written in the model's config": lambda: pixels(decode(latents / 0.18215).sample),
        "the latents were not divided by the factor": lambda: pixels(decode(latents).sample),
        "the latents were multiplied by the factor; divide": lambda: pixels(decode(latents * factor).sample),
        "the bytes are cut off, not rounded": lambda: pixels(decode(latents / factor).sample, how=torch.floor),
        "the images run from -1 to 1; they were taken to run from 0 to 1":
            lambda: (decode(latents / factor).sample.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1),
        "values below -1 and above 1 wrap around; clip before turning them into bytes": lambda: (
            (decode(latents / factor).sample / 2 + 0.5) * 255).round().to(torch.int64).remainder(256).to(torch.uint8).permute(0, 2, 3, 1),
    }
    named = [text for text, wrong in known.items() if alike(got, wrong())]
    expect(alike(got, right), f"{what} is wrong in {int((got != right).sum())} of {right.numel()} bytes" + (KNOWN + named[0] if named else ""))


SD = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


@task("ch10.scheduler_loop")
def test_scheduler_loop(student):
    plain = types.SimpleNamespace(timesteps=torch.tensor([5, 1]), init_noise_sigma=2.0, scale_model_input=lambda x, t: x / 2,
                                  step=lambda eps, t, x: types.SimpleNamespace(prev_sample=x - eps))
    student.scheduler_loop(plain, lambda x, t: x / 4, student.randn(1, 2, 3, 3))          # a stub is found out before diffusers is loaded
    import diffusers

    x = student.randn(1, 4, 4, 5)
    for name in ("DDIMScheduler", "EulerDiscreteScheduler", "LMSDiscreteScheduler", "PNDMScheduler", "HeunDiscreteScheduler"):
        options = {"clip_sample": False} if name == "DDIMScheduler" else {"skip_prk_steps": True} if name == "PNDMScheduler" else {}
        make = getattr(diffusers, name)

        def walk(scale=True, first=True, twice=False, skip=0, make=make, options=options):
            scheduler = make(**SD, **options)
            scheduler.set_timesteps(6)
            y = x * scheduler.init_noise_sigma if first else x
            for t in scheduler.timesteps[skip:]:
                shown = scheduler.scale_model_input(y, t)
                y = scheduler.step(eps_of(shown if scale else y, t), t, y).prev_sample
            return y

        scheduler = make(**SD, **options)
        scheduler.set_timesteps(6)
        model = Counted(eps_of)
        given = types.SimpleNamespace(
            timesteps=scheduler.timesteps, init_noise_sigma=float(scheduler.init_noise_sigma),
            scale_model_input=lambda sample, timestep, scheduler=scheduler: scheduler.scale_model_input(sample, as_t(scheduler, timestep)),
            step=lambda model_output, timestep, sample, scheduler=scheduler: types.SimpleNamespace(
                prev_sample=scheduler.step(model_output, as_t(scheduler, timestep), sample).prev_sample))
        got = student.scheduler_loop(given, model, x)
        what = f"scheduler_loop with diffusers' {name}"
        expect_calls(model, len(scheduler.timesteps), what)
        expect_close(got, walk(), what, {
            "the noise was not multiplied by init_noise_sigma": lambda: walk(first=False),
            "the network was shown x itself, not what scale_model_input makes of it": lambda: walk(scale=False),
            "both init_noise_sigma and scale_model_input are missing": lambda: walk(scale=False, first=False),
        }, rtol=1e-3, atol=1e-4)


def as_t(scheduler, timestep):
    """The timestep as the scheduler has it; one that it does not have is a mistake of the student's."""
    t = torch.as_tensor(timestep)
    expect(t.numel() == 1 and bool((scheduler.timesteps == t).any()), f"the scheduler was asked about the timestep {timestep}, which it does not have")
    return scheduler.timesteps[int((scheduler.timesteps == t).nonzero()[0, 0])]


def eps_of(x, t):
    """A network that bends, and that looks at the level."""
    return torch.tanh(1.2 * x) * (0.6 + float(t) / 2500)


# -------------------------------------------------------------------------------------------------------------- render


def encode(texts):
    return torch.stack([torch.tensor([[math.sin(len(text)), math.cos(3 * sum(map(ord, text)))]]) for text in texts])   # (2, 1, 2)


def network(x, alpha_bar, contexts):
    return torch.tanh(x) * (1.2 - alpha_bar) + 0.3 * contexts.sum((1, 2)).view(-1, 1, 1, 1) * torch.cos(x)


def decode(latents):
    return 1.2 * torch.tanh(latents[:, :3] * 0.2).repeat_interleave(2, 2).repeat_interleave(2, 3)


def level(alpha_bar):
    return CLEAN if alpha_bar == 1.0 else Level(0, math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar))


def latents_of(prompt, noise, grid, scale, mix=None, order=("", None)):
    mix = mix or (lambda e, p: e + scale * (p - e))
    contexts = encode([prompt if text is None else text for text in order])
    x = noise
    for now, next in itertools.pairwise(grid):
        e, p = network(torch.cat([x, x]), now, contexts).chunk(2)
        x = transfer(x, mix(e, p), level(now), level(next))
    return x


@task("ch10.render_image")
def test_render_image(student):
    prompt = "a bear above a horse"
    grids = [0.05, 0.2, 0.5, 0.8, 0.95, 1.0], [0.00466, 0.1, 0.3, 0.6, 0.9, 0.99915], [0.00466, 1.0]
    for grid, scale, factor in zip(grids, (3.0, 7.5, -1.0), (0.7, 0.18215, 0.13025), strict=True):
        noise = student.randn(1, 4, 3, 5)
        e, n, d = Counted(encode), Counted(network), Counted(decode)
        got = student.render_image(prompt, e, n, d, noise, grid, scale, factor)
        what = f"render_image on a grid of {len(grid) - 1} steps"
        expect_calls(e, 1, what + " (encode is \"the model\" here)", {"the two texts go into one call": 2, "the text was encoded in every step": len(grid) - 1})
        texts = e.calls[0][0]
        expect(texts == ["", prompt], f"encode should be given ['', {prompt!r}], and was given {texts!r}")
        expect_calls(n, len(grid) - 1, what, {
            "both predictions come out of one call with x twice": 2 * len(grid) - 2,
            "the network was also called at the last level": len(grid),
            "the last step is missing, or the first": len(grid) - 2,
        })
        for call in n.calls:
            expect(tuple(call[0].shape) == (2, 4, 3, 5), f"denoise should be given x twice, of shape (2, 4, 3, 5), and was given {tuple(call[0].shape)}", "wrong_shape")
            expect_type(call[1], float, f"{what}: the alpha_bar that denoise is told")
        seen = [call[1] for call in n.calls]
        expect(all(abs(a - b) < 1e-6 for a, b in zip(seen, grid, strict=False)),
               f"denoise should be told the levels {grid[:-1]}, and was told {[round(a, 4) for a in seen]}")
        expect_calls(d, 1, what + " (decode is \"the model\" here)", {"decode the finished latents only": len(grid) - 1, "nothing was decoded": 0})
        right = latents_of(prompt, noise, grid, scale)

        def finish(latents, multiply=1 / factor):
            return pixels(decode(latents * multiply))

        result = finish(right)
        expect_tensor(got, result.shape, torch.uint8, what)
        known = {
            "the factor is typed in, 0.18215; it is an argument": lambda: finish(right, 1 / 0.18215),
            "the latents were not divided by the scaling factor before decoding": lambda: finish(right, 1.0),
            "the latents were multiplied by the scaling factor; divide": lambda: finish(right, factor),
            "the halves are swapped: guidance runs away from the prompt": lambda: finish(latents_of(prompt, noise, grid, scale, lambda e, p: p + scale * (e - p))),
            "guidance is missing: only the prompted half was used": lambda: finish(latents_of(prompt, noise, grid, scale, lambda e, p: p)),
            "only the unprompted half was used": lambda: finish(latents_of(prompt, noise, grid, scale, lambda e, p: e)),
            "the guidance is the paper's convention w = scale - 1": lambda: finish(latents_of(prompt, noise, grid, scale, lambda e, p: p + scale * (p - e))),
            "the bytes are cut off, not rounded": lambda: pixels(decode(right / factor), how=torch.floor),
            "the images run from -1 to 1; they were taken to run from 0 to 1": lambda: (decode(right / factor).clamp(0, 1) * 255).round()
                .to(torch.uint8).permute(0, 2, 3, 1),
        }
        known["values below -1 and above 1 wrap around; clip before turning them into bytes"] = lambda: (
            (decode(right / factor) / 2 + 0.5) * 255).round().to(torch.int64).remainder(256).to(torch.uint8).permute(0, 2, 3, 1)
        named = [text for text, wrong in known.items() if alike(got, wrong())]
        wrong = (got.int() - result.int()).abs()
        expect(alike(got, result), f"{what} is wrong in {int((wrong > 0).sum())} of {wrong.numel()} bytes, by up to {int(wrong.max())}"
               + (f". This looks like a known mistake: {named[0]}" if named else ""))


def alike(a, b):
    """The same bytes, but for a few that rounding moved by one."""
    difference = (a.int() - b.int()).abs()
    return int(difference.max()) <= 1 and float((difference > 0).float().mean()) < 0.05


@task("ch10.predict")
def test_predicted_and_measured(student):
    expect_written(student, "ch10.predict", ANSWERS)
