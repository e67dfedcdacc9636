"""Editing: limits that hold to the bit, diffusers' pipelines, worlds with a truth, and the model that ships."""

from unittest import mock

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    RePaintScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
)
from PIL import Image

from course.components import load_components
from course.editing import (
    anagram,
    back_and_forth,
    by_step,
    edit_image,
    encode,
    hybrid,
    img2img,
    inpaint,
    invert,
    known_outside,
    latent_mask,
    null_text,
    repaint,
    swap_words,
    tail,
    upwards,
)
from course.emoji.data import Scene, render
from course.samplers import SAMPLERS, TAUGHT
from course.schedule import CLEAN, NoiseSchedule
from course.stable_diffusion import SD_V1, decode, render_image
from course.toy import ring

SD = NoiseSchedule.from_config(SD_V1)
DDIM = SAMPLERS["ddim"]
WORLD = ring()
PROMPT = "a horse above a bear on a blue background"


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def parts():
    return load_components("emoji", device="cpu")


@pytest.fixture(scope="module")
def scene():
    return render(Scene(objects=("bear", "horse"), relation="above", colour="white", size=None))


def pixels(image):
    return np.asarray(image, dtype=int)


# ------------------------------------------------------------------------------------------------ how far up


@pytest.mark.parametrize(("strength", "steps"), [(0.0, 0), (0.05, 0), (0.3, 3), (0.99, 9), (1.0, 10)])
def test_strength_is_the_share_of_steps_that_are_walked(strength, steps):
    grid = DDIM.grid(SD, 10)
    rest = tail(grid, strength)
    assert len(rest) - 1 == steps
    assert rest[-1] == grid[-1]


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_a_strength_that_is_no_share_is_refused(strength):
    with pytest.raises(ValueError, match="strength"):
        tail(DDIM.grid(SD, 10), strength)


@pytest.mark.parametrize("name", TAUGHT)
def test_strength_0_and_1_to_the_bit(name):
    z, noise = normal(2, 2), normal(2, 2, seed=1)
    generator, again = (torch.Generator().manual_seed(3) for _ in range(2))
    draw = lambda: torch.randn(2, 2, generator=generator, dtype=torch.float64)            # noqa: E731
    assert torch.equal(img2img(WORLD.denoise, z, noise, SAMPLERS[name], SD, 10, 0.0, draw), z)
    painted = img2img(WORLD.denoise, z, noise, SAMPLERS[name], SD, 10, 1.0, draw)
    assert torch.equal(painted, SAMPLERS[name].sample(WORLD.denoise, noise, SD, 10, again))


def test_more_strength_goes_farther_away():
    z = WORLD.sample(300, torch.Generator().manual_seed(0)).double()
    moved = [float((img2img(WORLD.denoise, z, normal(300, 2), SAMPLERS["heun"], SD, 30, s) - z).norm(dim=1).mean())
             for s in (0.1, 0.4, 0.9)]
    assert moved == sorted(moved)
    assert moved[0] < 0.3
    assert moved[2] > 1


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name not in TAUGHT])
def test_samplers_that_need_their_whole_grid_are_refused(name):
    z = normal(2, 2)
    with pytest.raises(ValueError, match="part of the grid"):
        img2img(WORLD.denoise, z, z, SAMPLERS[name], SD, 10, 0.5)


# ------------------------------------------------------------------------------------------------ masks


@pytest.mark.parametrize("name", TAUGHT)
def test_what_is_kept_is_kept_exactly(name):
    z, noise = normal(4, 2), normal(4, 2, seed=1)
    mask = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    painted = inpaint(WORLD.denoise, z, noise, mask, SAMPLERS[name], SD, 12, draw=lambda: normal(4, 2, seed=5))
    assert torch.equal(painted[:, 1], z[:, 1])
    assert not torch.allclose(painted[:, 0], z[:, 0], atol=0.1)


def test_the_known_part_moves_along_its_line():
    """A deterministic sampler that is told the noise is at alpha z + sigma noise at every level: nothing is pasted back."""
    z, noise = normal(4, 2), normal(4, 2, seed=1)
    mask = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    seen = []

    def spy(x, level):
        seen.append((x.clone(), level))
        return WORLD.denoise(x, level)

    inpaint(spy, z, noise, mask, SAMPLERS["dpmpp_2m"], SD, 12)
    for x, level in seen:
        assert torch.allclose(x[:, 1], level.alpha * z[:, 1] + level.sigma * noise[:, 1], atol=1e-9)


@pytest.mark.parametrize("method", ["inpaint", "repaint"])
def test_the_inside_is_drawn_given_the_outside(method):
    """The ring, with x_2 = 1.3 kept: the truth for x_1 is two bumps at +-0.75, of p(x_1 | x_2). Pasting finds them roughly, second
    thoughts better."""
    n = 600
    z = torch.tensor([[0.0, 1.3]], dtype=torch.float64).repeat(n, 1)
    mask = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    generator = torch.Generator().manual_seed(2)
    draw = lambda: torch.randn(n, 2, generator=generator, dtype=torch.float64)            # noqa: E731
    grid = SAMPLERS["ddpm"].grid(SD, 40)
    if method == "inpaint":
        x = inpaint(WORLD.denoise, z, draw(), mask, SAMPLERS["ddpm"], SD, 40, draw=draw)
    else:
        x = repaint(WORLD.denoise, z, mask, draw(), grid, draw, resamplings=4)
    assert torch.equal(x[:, 1], z[:, 1])
    near = (x[:, 0].abs() - 0.75).abs() < 0.5
    assert float(near.double().mean()) > (0.75 if method == "inpaint" else 0.9)
    assert 0.35 < float((x[:, 0] > 0).double().mean()) < 0.65


def test_second_thoughts_need_a_first():
    with pytest.raises(ValueError, match="at least once"):
        repaint(WORLD.denoise, normal(1, 2), torch.ones(1, 2), normal(1, 2), DDIM.grid(SD, 3), lambda: normal(1, 2), 0)


def test_second_thoughts_are_diffusers():
    """RePaintScheduler, on a schedule whose every time is visited: there its way up, which adds the betas of as many times as a step is
    long, begins where it should."""
    T, picture, mask = 12, normal(1, 4, 8, 8, seed=3), torch.zeros(1, 1, 8, 8, dtype=torch.float64)
    mask[..., 2:6, 2:6] = 1
    config = {"num_train_timesteps": T, "beta_start": 0.01, "beta_end": 0.3, "beta_schedule": "linear"}
    scheduler = RePaintScheduler(**config, clip_sample=False, eta=0.7)
    for jump, resamplings in ((1, 1), (1, 3), (4, 2)):
        scheduler.set_timesteps(T, jump_length=jump, jump_n_sample=resamplings)
        dice = [torch.Generator().manual_seed(0) for _ in range(2)]
        with mock.patch("diffusers.schedulers.scheduling_repaint.randn_tensor", lambda shape, generator, **_: torch.randn(
                shape, generator=generator, dtype=torch.float64)):
            x, last = picture.flip(3), scheduler.timesteps[0] + 1
            for t in scheduler.timesteps:
                if t < last:
                    x = scheduler.step(torch.sin(x + t), t, x, picture, 1 - mask, dice[0]).prev_sample
                else:
                    x = scheduler.undo_step(x, last, dice[0])
                last = t
        schedule = NoiseSchedule.from_config(config)
        grid = [schedule.at(t) for t in reversed(range(T))] + [CLEAN]
        found = repaint(lambda x, level: torch.sin(x + level.t), picture, mask, picture.flip(3), grid,
                        lambda: torch.randn(picture.shape, generator=dice[1], dtype=torch.float64), resamplings, jump, eta=0.7)
        assert (found - x).abs().max() < 1e-5, (jump, resamplings)


def test_the_way_of_second_thoughts():
    assert back_and_forth(3, 1) == [0, 1, 2, 3]
    assert back_and_forth(3, 2) == [0, 1, 2, 1, 2, 3, 2, 3]
    assert back_and_forth(4, 2, jump=2) == [0, 1, 2, 3, 4, 3, 2, 3, 4]
    with pytest.raises(ValueError, match="a jump is of at least one step"):
        back_and_forth(3, 2, jump=0)


def test_masks():
    half = Image.new("L", (64, 64))
    half.paste(255, (32, 0, 64, 64))
    cells = latent_mask(half, (8, 8))
    assert cells.shape == (1, 1, 8, 8)
    assert torch.equal(cells[0, 0, 0], torch.tensor([0.0] * 4 + [1.0] * 4))
    with pytest.raises(ValueError, match="black everywhere"):
        latent_mask(Image.new("L", (64, 64)), (8, 8))


# ------------------------------------------------------------------------------------------------ up and down again


def test_inversion_returns():
    z = WORLD.sample(50, torch.Generator().manual_seed(1)).double()
    grid = DDIM.grid(SD, 100)
    back = DDIM.run(WORLD.denoise, invert(WORLD.denoise, z, grid), grid, None)
    corrected = DDIM.run(WORLD.denoise, invert(WORLD.denoise, z, grid, corrections=6), grid, None)
    assert float((back - z).norm(dim=1).mean()) < 0.2
    assert float((corrected - z).norm(dim=1).mean()) < 0.2 * float((back - z).norm(dim=1).mean())


def test_inversion_goes_where_the_exact_flow_goes():
    z = WORLD.sample(20, torch.Generator().manual_seed(1)).double()
    grid = SAMPLERS["euler"].grid(SD, 400)
    assert float((invert(WORLD.denoise, z, grid) - WORLD.flow(z, CLEAN, grid[0])).norm(dim=1).mean()) < 0.1


def test_guidance_spoils_inversion():
    """At the scale the picture was not made with, up and down no longer agree."""
    from course.guidance import classifier_free, pair_of
    from course.toy import Mixture

    right = Mixture([[1.5, 0.0]], [0.2])
    z = right.sample(50, torch.Generator().manual_seed(1)).double()
    grid = DDIM.grid(SD, 50)
    error = []
    for scale in (1.0, 7.5):
        guided = classifier_free(pair_of(WORLD.denoise, right.denoise), scale)
        error.append(float((DDIM.run(guided, invert(guided, z, grid), grid, None) - z).norm(dim=1).mean()))
    assert error[1] > 2 * error[0]


def test_stand_ins_for_the_empty_prompt_bring_guidance_back():
    """What guidance spoils, null-text inversion repairs: measured on the shipped model, against the way down without it."""
    from course.emoji.data import caption
    from course.guidance import classifier_free
    from course.stable_diffusion import encode_prompts, prediction_pair, prompted_network

    parts = load_components("emoji", device="cpu", nets="course")
    scene = Scene(("bear", "horse"), "above", "white")
    with torch.inference_mode():
        z = encode([render(scene)], parts.vae)
        empty, words = encode_prompts(["", caption(scene)], parts.tokenizer, parts.text_encoder).chunk(2)
        grid = DDIM.grid(SD, 8)
        path = upwards(prompted_network(parts.unet, words), z, grid)
        assert len(path) == len(grid)
        assert torch.equal(path[-1], invert(prompted_network(parts.unet, words), z, grid))

        def back(pair):
            return float((DDIM.run(classifier_free(pair, 7.5), path[-1], grid, None) - z).square().mean())

        found = null_text(parts.unet, empty, words, path, grid, 7.5, rounds=5)
        assert [each.shape for each in found] == [words.shape] * 8
        repaired = back(by_step(parts.unet, found, words, grid))
        spoilt = back(prediction_pair(parts.unet, torch.cat([empty, words])))
        plain = float((DDIM.run(prompted_network(parts.unet, words), path[-1], grid, None) - z).square().mean())
        negative = back(prediction_pair(parts.unet, torch.cat([words, words])))                 # negative-prompt inversion
    assert repaired < 0.5 * spoilt
    assert negative == pytest.approx(plain, rel=1e-3)
    assert not any(weight.requires_grad for weight in parts.unet.parameters())
    with pytest.raises(KeyError):
        by_step(parts.unet, found, words, grid)(z, SD.at(3))


# ------------------------------------------------------------------------------------------------ one canvas, two pictures


def test_an_anagram_of_one_view_is_the_denoiser():
    x, level = normal(3, 2), SD.at(300)
    same = lambda y: y                                                                     # noqa: E731
    assert torch.equal(anagram([WORLD.denoise], [same], [same])(x, level), WORLD.denoise(x, level))


def test_an_anagram_satisfies_both_views():
    """A point that must lie on the ring's first bump, and on its opposite bump when mirrored: both agree on one place."""
    from course.toy import Mixture

    right, left = Mixture([[1.5, 0.0]], [0.2]), Mixture([[-1.5, 0.0]], [0.2])
    flip = lambda y: -y                                                                    # noqa: E731
    x = DDIM.sample(anagram([right.denoise, left.denoise], [lambda y: y, flip], [lambda y: y, flip]), normal(100, 2), SD, 50)
    assert float((x - torch.tensor([1.5, 0.0])).norm(dim=1).mean()) < 0.4
    with pytest.raises(ValueError, match="way back"):
        anagram([right.denoise], [flip], [])


def test_a_hybrid_takes_each_band_from_one():
    a, b = normal(1, 4, 8, 8), normal(1, 4, 8, 8, seed=1)
    blur = lambda y: torch.nn.functional.avg_pool2d(torch.nn.functional.pad(y, (1,) * 4, "circular"), 3, 1)   # noqa: E731
    mixed = hybrid(lambda x, level: a, lambda x, level: b, blur)(a, SD.at(300))
    assert torch.allclose(mixed, blur(a) + b - blur(b))
    assert torch.allclose(hybrid(lambda x, level: a, lambda x, level: a, blur)(a, SD.at(300)), a)


# ------------------------------------------------------------------------------------------------ the model that ships


def theirs(cls, parts, scheduler, **call):
    pipe = cls(vae=parts.vae, text_encoder=parts.text_encoder, tokenizer=parts.tokenizer, unet=parts.unet, safety_checker=None,
               scheduler=scheduler.from_config(parts.scheduler.config), feature_extractor=None, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    return pipe(prompt=PROMPT, generator=torch.Generator().manual_seed(7), num_inference_steps=10, **call).images[0]


@pytest.mark.parametrize(("name", "scheduler"), [("ddim", DDIMScheduler), ("dpmpp_2m", DPMSolverMultistepScheduler)])
def test_the_same_pictures_as_diffusers_img2img(parts, scene, name, scheduler):
    ours = edit_image(scene, PROMPT, parts, strength=0.7, sampler=name, guidance_scale=3.0, num_steps=10, seed=7, progress=False)[0]
    other = theirs(StableDiffusionImg2ImgPipeline, parts, scheduler, image=scene, strength=0.7, guidance_scale=3.0)
    assert np.abs(pixels(ours) - pixels(other)).max() <= 1
    assert np.abs(pixels(ours) - pixels(scene)).max() > 50


def test_the_same_pictures_as_diffusers_inpainting(parts, scene):
    mask = Image.new("L", scene.size)
    mask.paste(255, (0, 0, 64, 32))
    ours = edit_image(scene, PROMPT, parts, mask=mask, strength=0.8, guidance_scale=3.0, num_steps=10, seed=7,
                      paste=False, progress=False)[0]
    other = theirs(StableDiffusionInpaintPipeline, parts, DDIMScheduler, image=scene, mask_image=mask, strength=0.8,
                   guidance_scale=3.0, height=64, width=64)
    assert np.abs(pixels(ours) - pixels(other)).max() <= 1


def test_strength_0_is_the_round_trip_of_the_autoencoder(parts, scene):
    """And strength 1 is text-to-image from the same noise, to the bit."""
    ours = edit_image(scene, PROMPT, parts, strength=0.0, num_steps=10, seed=7, progress=False)[0]
    z = encode([scene], parts.vae, torch.Generator().manual_seed(7))
    assert np.array_equal(pixels(ours), pixels(decode(z, parts.vae)[0]))


def test_strength_1_is_text_to_image(parts, scene):
    z = encode([scene], parts.vae)
    noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(7))
    seen = []
    plain = render_image(PROMPT, *parts[:4], "ddim", num_steps=5, seed=7, progress=False, guidance_scale=1.0,
                         callback=lambda i, t, x: seen.append(x))
    assert torch.equal(seen[0], noise)
    from course.stable_diffusion import as_eps, encode_prompts, guided_network

    with torch.inference_mode():
        network = as_eps(guided_network(parts.unet, encode_prompts([PROMPT], parts.tokenizer, parts.text_encoder), 1.0), "epsilon")
        painted = decode(img2img(network, z, noise, DDIM, SD, 5, 1.0), parts.vae)
    assert np.array_equal(pixels(painted[0]), pixels(plain[0]))


def test_outside_the_mask_the_picture_is_kept(parts, scene):
    """To the pixel when it is pasted; as a latent, but tinted by the decoder, when it is not."""
    mask = Image.new("L", scene.size)
    mask.paste(255, (0, 0, 64, 32))
    options = {"mask": mask, "strength": 1.0, "guidance_scale": 3.0, "num_steps": 8, "seed": 7, "progress": False}
    kept = np.abs(pixels(edit_image(scene, PROMPT, parts, **options)[0]) - pixels(scene))
    assert kept[32:].max() == 0
    assert kept[:32].mean() > 5
    tinted = np.abs(pixels(edit_image(scene, PROMPT, parts, paste=False, **options)[0]) - pixels(scene))
    assert 0 < tinted[48:].mean() < kept[:32].mean()


def test_inpainting_knows_what_it_is_given(parts, scene):
    z = encode([scene], parts.vae)
    eps = known_outside(lambda x, level: torch.zeros_like(x), z, torch.zeros(1, 1, 8, 8))
    level, noise = SD.at(500), torch.randn(z.shape, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(eps(level.alpha * z + level.sigma * noise, level), noise, atol=1e-5)


@pytest.mark.parametrize(("options", "word"), [
    ({"strength": 2.0}, "strength"),
    ({"sampler": "nonsense"}, "unknown sampler"),
    ({"mask": Image.new("L", (32, 32), 255)}, "must agree"),
    ({"mask": Image.new("L", (64, 64), 0)}, "black everywhere"),
])
def test_edits_that_cannot_be_are_refused(parts, scene, options, word):
    with pytest.raises(ValueError, match=word):
        edit_image(scene, PROMPT, parts, num_steps=3, progress=False, **options)


def test_pictures_that_do_not_fit_are_refused(parts):
    with pytest.raises(ValueError, match="multiple of 8"):
        edit_image(Image.new("RGB", (60, 64)), PROMPT, parts, num_steps=3, progress=False)
    with pytest.raises(ValueError, match="one size"):
        encode([Image.new("RGB", (64, 64)), Image.new("RGB", (32, 64))], parts.vae)
    with pytest.raises(ValueError, match="at least one"):
        encode([], parts.vae)


# ------------------------------------------------------------------------------------------------ attention


@pytest.fixture(scope="module")
def readable():
    return load_components("emoji", device="cpu", nets="course")


BEFORE, AFTER = "a large cat on a blue background", "a large dog on a blue background"


def test_without_sharing_each_prompt_is_drawn_for_itself(readable):
    pair = swap_words(BEFORE, AFTER, readable, share=0.0, guidance_scale=3.0, num_steps=6, seed=3)
    for picture, prompt in zip(pair, (BEFORE, AFTER), strict=True):
        alone = render_image(prompt, *readable[:4], "ddim", guidance_scale=3.0, num_steps=6, seed=3, progress=False)[0]
        assert np.abs(pixels(picture) - pixels(alone)).max() <= 1


def test_sharing_changes_the_second_picture_only(readable):
    plain = swap_words(BEFORE, AFTER, readable, share=0.0, guidance_scale=3.0, num_steps=6, seed=3)
    shared = swap_words(BEFORE, AFTER, readable, share=1.0, guidance_scale=3.0, num_steps=6, seed=3)
    assert np.abs(pixels(plain[0]) - pixels(shared[0])).max() <= 1
    assert np.abs(pixels(plain[1]) - pixels(shared[1])).max() > 20
    assert np.abs(pixels(shared[0]) - pixels(shared[1])).max() > 20, "and the word still counts: its vectors are its own"


def test_prompts_of_other_lengths_share_no_attention(readable):
    with pytest.raises(ValueError, match="tokens"):
        swap_words(BEFORE, "a dog", readable, num_steps=2)


def test_attention_of_diffusers_networks_cannot_be_shared(parts):
    with pytest.raises(ValueError, match=r"course\.nets"):
        swap_words(BEFORE, AFTER, parts, num_steps=2)


def test_perturbed_attention_changes_what_is_said_and_leaves_no_trace(readable):
    from course.guidance import auto_guided, perturbed
    from course.stable_diffusion import encode_prompts, guided_network

    with torch.inference_mode():
        context = encode_prompts([BEFORE], readable.tokenizer, readable.text_encoder)
        network = guided_network(readable.unet, context, 1.0)
        x, level = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)), SD.at(500)
        plain = network(x, level)
        worse = perturbed(network, readable.unet)(x, level)
        assert float((worse - plain).abs().max()) > 1e-2
        assert torch.equal(network(x, level), plain)
        guided = auto_guided(perturbed(network, readable.unet), network, 3.0)(x, level)
        assert torch.allclose(guided, worse + 3 * (plain - worse))


# ------------------------------------------------------------------------------------------------ the command


def command(*arguments):
    from typer.testing import CliRunner

    from course.cli import app

    return CliRunner().invoke(app, ["edit", *map(str, arguments)])


def test_the_command_edits_a_file(tmp_path, scene):
    scene.save(tmp_path / "in.png")
    done = command(tmp_path / "in.png", PROMPT, "--steps", 4, "--strength", 0.5, "--guidance", 3, "--out", tmp_path / "out.png")
    assert done.exit_code == 0, done.output
    with Image.open(tmp_path / "out.png") as made:
        assert made.size == scene.size
        assert made.text["prompt"] == PROMPT


@pytest.mark.parametrize(("name", "content", "options", "word"), [
    ("none.png", None, [], "there is no picture"),
    ("text.png", b"not a picture", [], "cannot be read"),
    ("in.png", "scene", ["--strength", "1.5"], "strength"),
    ("in.png", "scene", ["--mask", "gone.png"], "there is no picture gone.png"),
])
def test_the_command_says_what_it_cannot_do(tmp_path, scene, name, content, options, word):
    if content == "scene":
        scene.save(tmp_path / name)
    elif content is not None:
        (tmp_path / name).write_bytes(content)
    done = command(tmp_path / name, PROMPT, "--steps", 2, "--out", tmp_path / "out.png", *options)
    assert done.exit_code == 1
    assert word in done.output
    assert not (tmp_path / "out.png").exists()
