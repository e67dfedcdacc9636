import math


def interval_scale(alpha_bar, scale, low, high):
    ratio = math.sqrt((1 - alpha_bar) / alpha_bar)
    return scale if low <= ratio <= high else 1.0


def plus_plus_scale(now, next, strength):
    r = math.sqrt((1 - now) / now)
    s = math.sqrt((1 - next) / next)
    return strength * r / (r - s)


def project_guidance(unconditional, conditional, scale):
    axes = (1, 2, 3)
    d = conditional - unconditional
    share = (d * conditional).sum(axes, keepdim=True) / (conditional * conditional).sum(axes, keepdim=True)
    return conditional + (scale - 1) * (d - share * conditional)
