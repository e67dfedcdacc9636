"""Checks of exercises/ch07_training.py."""

import torch

from course.grading import task
from course.grading.checks import expect, expect_close, expect_finite, expect_tensor, expect_type
from course.grading.errors import KNOWN
from course.samplers import SAMPLERS
from course.schedule import Level, NoiseSchedule, scaled_linear_betas
from course.toy import ring, x0_guess


@task("ch07.training_step")
def test_training_step(student):
    for batch, width, rate, dtype in ((4, 4, 0.7, torch.float32), (7, 3, 1.5, torch.float64), (1, 5, 0.01, torch.float32), (6, 1, 0.3, torch.float64)):
        weight, x0, noise = (x.to(dtype) for x in (0.5 * student.randn(width, width), student.randn(batch, width), student.randn(batch, width)))
        alpha_bar = student.levels(batch).to(dtype)
        a = alpha_bar[:, None]
        xt = a.sqrt() * x0 + (1 - a).sqrt() * noise

        def step(x=xt, target=noise, factor=1.0, weight=weight, rate=rate):
            error = x @ weight - target
            return weight - rate * factor * 2 / error.numel() * x.T @ error

        what = f"training_step with a batch of {batch} and D = {width} ({str(dtype)[6:]})"
        got = student.training_step(weight, x0, noise, alpha_bar, rate)
        expect_close(got, step(), what, {
            "the step goes uphill: the gradient is added where it is subtracted": lambda: step(factor=-1.0),
            "the learning rate is missing": lambda: step(factor=1 / rate),
            "this is the gradient, not the new weight": lambda: (weight - step()) / rate,
            "the weight has not changed": weight,
            "the loss is the sum over all entries where the mean is meant": lambda: step(factor=float(batch * width)),
            "the loss is the mean over the batch but the sum over D; the mean is over both": lambda: step(factor=float(width)),
            "the factor 2 of the derivative of a square is missing": lambda: step(factor=0.5),
            "the target is x_0 where the noise is meant": lambda: step(target=x0),
            "the network was shown x_0, not x_t": lambda: step(x=x0),
            "the square roots are missing in x_t": lambda: step(x=a * x0 + (1 - a) * noise),
            **({"in x_t, alpha_bar_t was spread along D; it counts the batch, so view it as (B, 1)":
                lambda: step(x=alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise)} if batch == width else {}),
        }, rtol=1e-3, atol=1e-4)
        expect(not got.requires_grad, f"{what}: the new weight still requires grad, so that the graph grows from step to step; return it detached")


@task("ch07.training_step")
def test_training_step_takes_a_parameter(student):
    x0, noise, alpha_bar = student.randn(4, 3), student.randn(4, 3), student.levels(4)
    weight = student.randn(3, 3)
    plain = student.training_step(weight, x0, noise, alpha_bar, 0.5)
    got = student.training_step(weight.clone().requires_grad_(), x0, noise, alpha_bar, 0.5)
    expect_close(got, plain, "training_step with a weight that requires grad, as the weights of a network do,")
    expect(not got.requires_grad, "training_step with a weight that requires grad gives a new weight that still requires grad; return it detached")


@task("ch07.training_step")
def test_many_steps_find_the_best_weight(student):
    x0, noise, alpha_bar = student.randn(64, 2), student.randn(64, 2), torch.full((64,), 0.5)
    xt = 0.5**0.5 * (x0 + noise)
    weight = torch.zeros(2, 2)
    for _ in range(60):
        weight = student.training_step(weight, x0, noise, alpha_bar, 0.5)
    best = torch.linalg.lstsq(xt, noise).solution
    expect_close(weight, best, "the weight after 60 steps, which should be the least-squares solution", atol=1e-2)


@task("ch07.ema_update")
def test_ema_update(student):
    average, value = student.randn(3, 4), student.randn(3, 4)
    # early and late, a decay that is never reached, one that always is, and one above 0.9999
    cases = ((0.9999, 0), (0.9999, 40), (0.8, 500), (0.5, 3), (0.99999, 10_000_000), (0.9999, 10_000_000), (0.0, 7), (1.0, 100))

    def mix(rule):
        return torch.stack([rule(decay, step) * average + (1 - rule(decay, step)) * value for decay, step in cases])

    got = [student.ema_update(average, value, decay, step) for decay, step in cases]
    for result in got:
        expect_tensor(result, (3, 4), what="ema_update")
    expect_close(torch.stack(got), mix(lambda decay, step: min(decay, (1 + step) / (10 + step))),
                 f"ema_update, for (decay, step) = {', '.join(map(str, cases))} in turn,", {
        "the warm-up is missing: at an early step, d is below decay": lambda: mix(lambda decay, step: decay),
        "average and value are swapped": lambda: mix(lambda decay, step: 1 - min(decay, (1 + step) / (10 + step))),
        "this takes the larger of decay and the warm-up; take the smaller": lambda: mix(lambda decay, step: max(decay, (1 + step) / (10 + step))),
        "decay is ignored: the warm-up must not go beyond it": lambda: mix(lambda decay, step: (1 + step) / (10 + step)),
        "the warm-up is step / (10 + step), one behind": lambda: mix(lambda decay, step: min(decay, step / (10 + step))),
        "the warm-up counts one step ahead; step counts the updates done before": lambda: mix(lambda decay, step: min(decay, (2 + step) / (11 + step))),
        "decay is capped at 0.9999; it is an argument": lambda: mix(lambda decay, step: min(decay, (1 + step) / (10 + step), 0.9999)),
        "the new value comes in with its full weight; it has 1 - d":
            lambda: torch.stack([min(decay, (1 + step) / (10 + step)) * average + value for decay, step in cases]),
    }, rtol=1e-6, atol=1e-7)
    wide = student.ema_update(average.double(), value.double(), 0.8, 500)
    expect_close(wide, 0.8 * average.double() + 0.2 * value.double(), "ema_update of float64 tensors")


@task("ch07.drop_captions")
def test_drop_captions(student):
    batch, length, width = 6, 6, 6                         # all alike, so that a wrong axis cannot hide in a crash
    context, empty = student.randn(batch, length, width), student.randn(length, width)
    draws = torch.tensor([0.05, 0.9, 0.3, 0.55, 0.12, 0.7])[torch.randperm(6, generator=student.generator)]
    for probability in (0.4, 0.1, 0.0, 1.0):
        drop = draws < probability

        def choose(mask):
            return torch.where(mask, empty, context)

        expect_close(student.drop_captions(context, empty, draws, probability), choose(drop[:, None, None]),
                     f"drop_captions with probability {probability}", {
            "the wrong ones were dropped: a caption goes where the draw is *below* the probability": lambda: choose(~drop[:, None, None]),
            "the dropped captions are zeros; put the embedded empty caption there": lambda: context * ~drop[:, None, None],
            "single tokens were dropped; a caption goes as a whole, so the mask counts the batch": lambda: choose(drop[None, :, None]),
            "single features were dropped; a caption goes as a whole, so the mask counts the batch": lambda: choose(drop),
            "contexts were blended; each image has its caption or none": lambda: (1 - probability) * context + probability * empty,
            "all or nothing was dropped, by the first draw": lambda: empty.expand_as(context).clone() if drop[0] else context,
        })


@task("ch07.drop_captions")
def test_drop_captions_at_the_ends(student):
    context, empty, draws = student.randn(5, 3, 4), student.randn(3, 4), student.rand(5)
    expect_close(student.drop_captions(context, empty, torch.zeros(5), 0.0), context, "drop_captions with probability 0, even for draws of 0")
    got = student.drop_captions(context, empty, draws, 1.0)
    expect_close(got, empty.expand(5, 3, 4).clone(), "drop_captions with probability 1")
    expect(got.shape == (5, 3, 4), "drop_captions should keep the shape")
    one = student.drop_captions(context[:1].double(), empty.double(), torch.tensor([0.25]), 0.25)
    expect_close(one, context[:1].double(), "drop_captions where the draw equals the probability, which keeps the caption (float64, a batch of one)")


# ------------------------------------------------------------------------------------------------------- the training lab

STEPS = 800
# timestep -> the error that a trained network stays below: the mean square distance of its prediction from the exact denoiser's
BARS = {20: 0.3, 150: 0.15, 300: 0.03, 450: 0.03, 600: 0.02, 800: 0.02, 990: 0.02}


def trained(student):
    """(world, table, the weights that the student's loop ends with)"""
    world = ring()
    table = (1 - scaled_linear_betas(1000, 0.00085, 0.012)).cumprod(0)
    data = world.sample(4000, torch.Generator().manual_seed(student.seed % 1000))
    weights = student.once("train", data, table, STEPS, torch.Generator().manual_seed(student.seed % 977))
    expect_type(weights, list, "train")
    expect(len(weights) > 0 and all(isinstance(w, torch.Tensor) for w in weights), "train should return a list of tensors, the weights", "wrong_type")
    for i, w in enumerate(weights):
        expect_finite(w, f"the trained weights[{i}]")
    expect(sum(w.numel() * w.element_size() for w in weights) <= 200_000, "the weights together should have at most 200 kB: a small network is enough")
    return world, table, weights


@task("ch07.train")
def test_the_network_has_learnt(student):
    world, table, weights = trained(student)
    errors, named = {}, ""
    for t in BARS:
        level = Level(t, float(table[t].sqrt()), float((1 - table[t]).sqrt()))
        x0, noise = world.sample(1000, student.generator), student.randn(1000, 2)
        x = level.alpha * x0 + level.sigma * noise
        right = world.denoise(x.double(), level).float()
        got = student.once("denoised", weights, x, table[t].expand(1000).contiguous())
        expect_tensor(got, (1000, 2), what="denoised")
        expect_finite(got, "denoised")
        errors[t] = float(((got - right) ** 2).mean())
        if t == 300 and errors[t] > 5 * BARS[t]:          # where x_0, noise and velocity are three different things
            others = {
                "the network predicts x_0; the loss has to compare with the noise": ((got - x0_guess(world, x.double(), level).float()) ** 2).mean(),
                "the network predicts the velocity; the loss has to compare with the noise":
                    ((got - (level.alpha * right - level.sigma * x0_guess(world, x.double(), level).float())) ** 2).mean(),
            }
            named = next((text for text, error in others.items() if float(error) < 3 * BARS[t]), "")
    bad = [t for t, error in errors.items() if not error < BARS[t]]
    if not named and len(bad) > 1:
        x = student.randn(50, 2)
        low, high = (student.once("denoised", weights, x, table[t].expand(50).contiguous()) for t in (20, 990))
        if bool((low - high).abs().max() < 1e-5):
            named = "the network does not look at the level: its answer is the same at every alpha_bar_t"
        elif all(error > 0.25 for error in errors.values()):
            named = "it has hardly learnt at any level: is the gradient set to zero before every step, are the data "\
                    "used as they come (not scaled as bytes, 0 to 255), is the network shown x_t with its own level?"
    table_of = ", ".join(f"{error:.3f} at t = {t} (bar {BARS[t]:g})" for t, error in errors.items())
    expect(not bad, f"the error against the exact denoiser after {STEPS} steps is too large at t = {', '.join(map(str, bad))}: {table_of}"
           + (KNOWN + named if named else ""))


@task("ch07.train")
def test_its_samples_are_like_the_data(student):
    world, table, weights = trained(student)
    schedule = NoiseSchedule(1 - torch.cat([table[:1], table[1:] / table[:-1]]))
    x = student.randn(600, 2)

    def denoise(x, level):
        return student.once("denoised", weights, x, torch.full((len(x),), float(level.alpha) ** 2))

    got = SAMPLERS["ddim"].sample(denoise, x, schedule, 25)
    fresh, other = world.sample(600, student.generator), world.sample(600, student.generator)
    distance, floor = energy(got, fresh), energy(fresh, other)
    expect(distance < 0.05, f"600 points drawn with your network by DDIM in 25 steps should be spread like the data; their energy distance is {distance:.4f} "
           f"(two draws of the data themselves: {floor:.4f}, bar 0.05)")


def energy(a, b):
    """Energy distance of two sets of points (Szekely and Rizzo 2013): 0 for one law."""
    return float(2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean())
