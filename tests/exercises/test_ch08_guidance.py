"""Checks of exercises/ch08_guidance.py."""

import torch

from course import guidance
from course.grading import task
from course.grading.checks import Counted, expect, expect_calls, expect_close, expect_type
from course.grading.diffusers_numbers import diffusers_says


@task("ch08.guide")
def test_guide(student):
    cases = ((7.5, (2, 3, 4, 4), torch.float32), (3.0, (1, 4, 5, 7), torch.float64), (-2.0, (2, 1, 3, 3), torch.float32),
             (-100.0, (3, 4, 4, 2), torch.float32), (40.0, (1, 1, 1, 5), torch.float64), (0.5, (2, 4, 3, 3), torch.float32))
    for scale, shape, dtype in cases:
        u, c = student.randn(*shape).to(dtype), student.randn(*shape).to(dtype)
        right = guidance.classifier_free(lambda x, level: (u, c), scale)(u, None)
        expect_close(student.guide(u, c, scale), right, f"guide with scale {scale} ({str(dtype)[6:]})", {
            "a scale below 0 was taken for 0; it should walk away from the prompt": lambda: u + max(scale, 0.0) * (c - u),
            "this is the paper's convention w = scale - 1; Stable Diffusion's scale 1 is no guidance": lambda: c + scale * (c - u),
            "the two predictions are swapped": lambda: c + scale * (u - c),
            "the difference alone is returned: the unconditional prediction it starts from is missing": lambda: scale * (c - u),
            "the difference is turned round": lambda: u - scale * (c - u),
            "the conditional prediction is scaled without taking the unconditional one away from it": lambda: u + scale * c,
            "this is the conditional prediction without guidance": lambda: c,
            "this is the mean of the two": lambda: (u + c) / 2,
        })


@task("ch08.guide")
def test_guide_at_known_scales(student):
    u, c = student.randn(1, 2, 3, 3), student.randn(1, 2, 3, 3)
    expect_close(student.guide(u, c, 1.0), c, "guide with scale 1, which is the conditional prediction,")
    expect_close(student.guide(u, c, 0.0), u, "guide with scale 0, which is the unconditional prediction,")


@task("ch08.guided_noise")
def test_guided_noise(student):
    cases = (((1, 4, 4, 4), 4.0, 0.37, torch.float32), ((3, 4, 5, 6), -1.5, 0.00466, torch.float64), ((2, 1, 3, 3), 0.0, 0.99915, torch.float32))
    for shape, scale, alpha_bar, dtype in cases:
        x = student.randn(*shape).to(dtype)
        negative, positive = student.randn(shape[0], 7, 8).to(dtype), student.randn(shape[0], 7, 8).to(dtype)

        def network(x, alpha_bar, contexts):
            return torch.sin(x) * (1 + alpha_bar) + contexts.mean((1, 2)).view(-1, 1, 1, 1) * (1.5 + torch.cos(2 * x))

        model = Counted(network)
        got = student.guided_noise(model, x, alpha_bar, negative, positive, scale)
        expect_calls(model, 1, "guided_noise", {"both predictions come out of one call with a batch of 2 B; there are two calls": 2,
                                                "the network was never asked": 0})
        batch, level, contexts = model.calls[0]
        what = f"guided_noise with x of shape {shape} and scale {scale} ({str(dtype)[6:]})"
        expect_type(level, float, f"{what}: the alpha_bar that denoise is told")
        expect(tuple(batch.shape) == (2 * shape[0], *shape[1:]), f"{what} should show the network a batch of {2 * shape[0]} images "
               f"(x twice), and showed it one of {len(batch)}", "wrong_shape")
        expect(tuple(contexts.shape) == (2 * shape[0], 7, 8), f"{what} should show the network {2 * shape[0]} contexts", "wrong_shape")
        expect_close(float(level), alpha_bar, "the alpha_bar that the network was given")
        n, p = network(x, alpha_bar, negative), network(x, alpha_bar, positive)
        known = {
            "the two halves are swapped: guidance runs away from the prompt": lambda: p + scale * (n - p),
            "this is the paper's convention w = scale - 1": lambda: p + scale * (p - n),
            "the conditional half alone was returned": lambda: p,
            "the negative half alone was returned": lambda: n,
            "the difference alone is returned: the prediction it starts from is missing": lambda: scale * (p - n),
        }
        if shape[0] > 1:
            both = network(torch.cat([x, x]), alpha_bar, torch.cat([negative, positive]))
            known["every second prediction was taken for a half; cat puts one half after the other"] = \
                lambda both=both: both[0::2] + scale * (both[1::2] - both[0::2])
        expect_close(contexts, torch.cat([negative, positive]), "the contexts that the network was given, [negative, positive],", {
            "they are in the order [positive, negative]": lambda: torch.cat([positive, negative])})
        expect_close(batch, torch.cat([x, x]), "the batch that the network was given, x twice,")
        expect_close(got, n + scale * (p - n), what, known, rtol=3e-4)
        again = student.guided_noise(Counted(network), x, alpha_bar, negative, positive, scale)
        expect_close(again, n + scale * (p - n), f"{what}, called once more with the same arguments,", rtol=3e-4)


@task("ch08.rescale_guidance")
def test_rescale_guidance(student):
    cases = (((4, 4, 4, 4), 0.7, torch.float32), ((2, 3, 5, 6), 0.3, torch.float64), ((1, 1, 2, 7), 1.0, torch.float32), ((3, 4, 2, 2), 0.0, torch.float64))
    for shape, share, dtype in cases:
        cond = student.randn(*shape) * student.rand(shape[0], 1, 1, 1, low=0.5, high=1.5) + 0.4
        guided = 4 * student.randn(*shape) * student.rand(shape[0], 1, 1, 1, low=0.5, high=1.5) + student.randn(1, shape[1], 1, 1)
        cond, guided = cond.to(dtype), guided.to(dtype)

        def mix(rescaled, share=share, guided=guided):
            return share * rescaled + (1 - share) * guided

        def std(x, axes):
            return x.std(axes, keepdim=True)

        axes = (1, 2, 3)
        ratio = std(cond, axes) / std(guided, axes)
        expect_close(student.rescale_guidance(guided, cond, share), guidance.rescaled(guided, cond, share),
                     f"rescale_guidance with images of shape {shape} and share {share}", {
            "the ratio is upside down": lambda: mix(guided / ratio),
            "one standard deviation was taken for the whole batch; each image has its own": lambda: mix(guided * cond.std() / guided.std()),
            "a standard deviation was taken for each channel; take it over C, H and W": lambda: mix(guided * std(cond, (2, 3)) / std(guided, (2, 3))),
            "the shares are swapped": lambda: mix(guided * ratio, 1 - share),
            "the mixing with the guided prediction is missing": lambda: guided * ratio,
            "it mixes with the conditional prediction; mix with the guided one": lambda: share * guided * ratio + (1 - share) * cond,
            "variances were used where standard deviations are meant": lambda: mix(guided * ratio**2),
            "only the standard deviation of the conditional one is used; divide by that of the guided one": lambda: mix(guided * std(cond, axes)),
        }, rtol=2e-3, atol=1e-4)


@task("ch08.rescale_guidance")
def test_rescale_guidance_in_diffusers(student):
    arguments, right = diffusers_says("rescale_guidance")
    expect_close(student.rescale_guidance(*arguments), right, "rescale_guidance, against diffusers' rescale_noise_cfg,")
