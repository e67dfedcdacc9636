"""Checks of exercises/ch05_losses.py."""

import torch

from course import forward
from course.grading import task
from course.grading.checks import Counted, expect, expect_calls, expect_close
from course.schedule import Level


def laws(student, batch, width, dtype=torch.float32):
    """mean_q, log_var_q, mean_p, log_var_p: log-variances up to 9 in size, each sign in each law."""
    mean_q, log_q, mean_p, log_p = (student.randn(batch, width) for _ in range(4))
    rows = torch.arange(batch) % 4
    log_q[rows == 0, 0], log_p[rows == 1, 0], log_q[rows == 2, 0], log_p[rows == 3, 0] = 9.0, 9.0, -9.0, -9.0
    if batch == 1:
        log_q[0, :2], log_p[0, 2:4] = torch.tensor([9.0, -9.0]), torch.tensor([9.0, -9.0])
    return tuple(x.to(dtype) for x in (mean_q, log_q, mean_p, log_p))


@task("ch05.kl_gaussians")
def test_kl_gaussians(student):
    for batch, width, dtype in ((4, 4, torch.float32), (1, 6, torch.float64), (5, 1, torch.float32), (3, 7, torch.float64)):
        mean_q, log_q, mean_p, log_p = laws(student, batch, width, dtype)
        var_q, var_p = log_q.exp(), log_p.exp()
        square = (mean_q - mean_p) ** 2

        def kl(terms):
            return 0.5 * terms.sum(1)

        terms = log_p - log_q + (var_q + square) / var_p - 1
        expect_close(student.kl_gaussians(mean_q, log_q, mean_p, log_p), kl(terms), f"kl_gaussians with {str(dtype)[6:]} arguments {(batch, width)}, log-variances from -9 to 9,", {
            "this is KL(p || q), with the two laws swapped": lambda: kl(log_q - log_p + (var_p + square) / var_q - 1),
            "the factor 1/2 is missing": lambda: terms.sum(1),
            "the -1 is missing, so that it is not 0 for equal laws": lambda: kl(terms + 1),
            "the two logarithms are swapped": lambda: kl(log_q - log_p + (var_q + square) / var_p - 1),
            "the division is by the logarithm of the variance, not by the variance": lambda: kl(log_p - log_q + (var_q + square) / log_p - 1),
            "the squared distance of the means is not divided by the variance of p":
                lambda: kl(log_p - log_q + var_q / var_p + square - 1),
            "the distance of the means is not squared": lambda: kl(log_p - log_q + (var_q + mean_q - mean_p) / var_p - 1),
            "this is the mean over D where the sum is meant": lambda: 0.5 * terms.mean(1),
            "the logarithms were taken for standard deviations": lambda: kl(2 * (log_p - log_q) + (log_q.exp() ** 2 + square) / log_p.exp() ** 2 - 1),
        }, rtol=5e-4)


@task("ch05.kl_gaussians")
def test_kl_of_equal_laws_is_zero(student):
    mean, log_var = student.randn(3, 5), student.randn(3, 5)
    expect_close(student.kl_gaussians(mean, log_var, mean, log_var), torch.zeros(3), "kl_gaussians of two equal laws")


@task("ch05.simple_loss")
def test_simple_loss(student):
    for shape, dtype in (((4, 4, 4, 4), torch.float32), ((3, 2, 5, 7), torch.float64), ((1, 1, 3, 2), torch.float32)):
        check_simple_loss(student, shape, dtype)


def network(x_t, alpha_bar_t):
    return torch.tanh(1.3 * x_t) + alpha_bar_t.reshape(-1, 1, 1, 1) * 0.2 - 0.1


def check_simple_loss(student, shape, dtype):
    x0, noise, alpha_bar = (x.to(dtype) for x in (student.randn(*shape), student.randn(*shape), student.levels(shape[0])))
    a = alpha_bar.view(-1, 1, 1, 1)
    xt = forward.add_noise(x0, noise, Level(0, a.sqrt(), (1 - a).sqrt()))
    what = f"simple_loss with {str(dtype)[6:]} images of shape {shape}"
    model, once_more = Counted(network), Counted(network)
    got = student.simple_loss(model, x0, noise, alpha_bar)
    predicted = network(xt, alpha_bar)
    square = (predicted - noise) ** 2
    no_roots = a * x0 + (1 - a) * noise
    expect_calls(model, 1, what, {"the network was never asked": 0, "one call does for the whole batch; there is one per image": shape[0]})
    known = {
        "this is the sum of the squares, not their mean": lambda: square.sum(),
        "this is the mean over the batch but the sum over the rest; the mean is over everything": lambda: square.sum() / shape[0],
        "this is the mean absolute error": lambda: (predicted - noise).abs().mean(),
        "this is the root of the mean square": lambda: square.mean().sqrt(),
        "the prediction is compared with x_0, not with the noise": lambda: ((predicted - x0) ** 2).mean(),
        "the prediction is compared with x_t, not with the noise": lambda: ((predicted - xt) ** 2).mean(),
        "the network was shown the clean image, not x_t": lambda: ((network(x0, alpha_bar) - noise) ** 2).mean(),
        "the square roots are missing in x_t": lambda: ((network(no_roots, alpha_bar) - noise) ** 2).mean(),
        "there is a factor 1/2 too much": lambda: square.mean() / 2,
    }
    if len(set(shape)) == 1:
        wrong_axis = alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise
        known["in x_t, alpha_bar_t was spread along the width; it counts the batch"] = \
            lambda: ((network(wrong_axis, alpha_bar) - noise) ** 2).mean()
    expect_close(got, square.mean(), what, known, rtol=3e-4)
    expect_close(model.calls[0][1].reshape(-1), alpha_bar, "the alpha_bar_t that the network was given")
    again = student.simple_loss(once_more, x0, noise, alpha_bar)
    expect_close(again, square.mean(), f"{what}, called once more with the same arguments,", rtol=3e-4)


@task("ch05.simple_loss")
def test_a_perfect_network_has_no_loss(student):
    noise = student.randn(2, 3, 5, 4)
    got = student.simple_loss(lambda x_t, alpha_bar_t: noise, student.randn(2, 3, 5, 4), noise, student.levels(2))
    expect_close(got, torch.tensor(0.0), "simple_loss of a network that knows the noise")


@task("ch05.vlb_weight")
def test_vlb_weight(student):
    for count, dtype in ((10, torch.float32), (1, torch.float64), (6, torch.float64)):
        check_vlb_weight(student, *(x.to(dtype) for x in student.steps(count)), f"vlb_weight of {count} steps ({str(dtype)[6:]})")


def check_vlb_weight(student, now, prev, what):
    alpha = now / prev
    beta = 1 - alpha
    expect_close(student.vlb_weight(now, prev), beta / (2 * alpha * (1 - now)), what, {
        "beta_t is not squared in the numerator": 1 / (2 * alpha * (1 - now)),
        "the factor 2 is missing in the denominator": beta / (alpha * (1 - now)),
        "alpha_bar_t stands where alpha_t is meant": beta / (2 * now * (1 - now)),
        "1 - alpha_t stands where 1 - alpha_bar_t is meant": beta / (2 * alpha * (1 - alpha)),
        "1 - alpha_bar_prev stands where 1 - alpha_bar_t is meant; so it is if sigma_t^2 is the posterior variance, but this "
        "exercise takes sigma_t^2 = beta_t": beta / (2 * alpha * (1 - prev)),
        "alpha_t is missing in the denominator": beta / (2 * (1 - now)),
        "beta_t is 1 - alpha_bar_t here; it should be 1 - alpha_t": (1 - now) / (2 * alpha * (1 - now)),
        "sigma_t^4 stands where sigma_t^2 is meant": 1 / (2 * alpha * (1 - now)),
    }, rtol=1e-3)


@task("ch05.min_snr_weight")
def test_min_snr_weight(student):
    many = torch.cat([student.levels(12), torch.tensor([0.02, 0.8, 0.9, 0.99])])
    for gamma, alpha_bar in ((5.0, many), (2.0, many.double()), (1.0, student.levels(1)), (5.0, 1 - student.levels(1)), (1000.0, many)):
        snr = alpha_bar / (1 - alpha_bar)
        expect_close(student.min_snr_weight(alpha_bar, gamma), snr.clamp(max=gamma) / snr, f"min_snr_weight with gamma = {gamma}", {
            "the division by the signal-to-noise ratio is missing; that weight is for a network that predicts x_0": snr.clamp(max=gamma),
            "this is max(snr, gamma) / snr": snr.clamp(min=gamma) / snr,
            "the ratio is upside down: noise over signal": (1 / snr).clamp(max=gamma) * snr,
            "the ratio is of amplitudes; use variances": snr.sqrt().clamp(max=gamma) / snr.sqrt(),
            "gamma is fixed at 5; it is an argument": snr.clamp(max=5.0) / snr,
            "the division is by gamma, not by the signal-to-noise ratio": snr.clamp(max=gamma) / gamma,
            "alpha_bar_t alone was taken for the signal-to-noise ratio": alpha_bar.clamp(max=gamma) / alpha_bar,
            "the weight for v-prediction divides by snr + 1; noise prediction divides by snr": snr.clamp(max=gamma) / (snr + 1),
        }, rtol=3e-4)
    expect_close(student.min_snr_weight(torch.tensor([0.3, 0.99])), torch.tensor([1.0, 5 / 99]), "min_snr_weight with its default gamma, 5,", rtol=1e-3)


@task("ch05.simple_loss")
def test_simple_loss_can_be_trained_on(student):
    x0, noise, guess = (student.randn(2, 1, 3, 3) for _ in range(3))
    arguments = lambda x_t, alpha_bar_t: guess, x0, noise, student.levels(2)
    _, gradient = student.gradient("simple_loss", *arguments, wrt=0)
    expect(gradient is not None, "no gradient reaches the network, so nothing would be trained: it should not be called under no_grad, "
                                 "and its answer not be detached")
    expect_close(gradient, 2 * (guess - noise) / noise.numel(), "the gradient of simple_loss with respect to the network's prediction")


@task("ch05.kl_gaussians")
def test_kl_gaussians_can_be_trained_on(student):
    mean_q, log_q, mean_p, log_p = arguments = laws(student, 4, 2)
    gap, precision = mean_q - mean_p, (-log_p).exp()
    right = {"mean_q": gap * precision, "log_var_q": (log_q.exp() * precision - 1) / 2, "mean_p": -gap * precision,
             "log_var_p": (1 - (log_q.exp() + gap**2) * precision) / 2}
    for wrt, (name, expected) in enumerate(right.items()):
        _, gradient = student.gradient("kl_gaussians", *arguments, wrt=wrt)
        expect(gradient is not None, f"the divergence should depend on {name} for autograd: no .detach(), .item(), .numpy() or no_grad on the way")
        expect_close(gradient, expected, f"the gradient of kl_gaussians with respect to {name}", rtol=5e-4)
