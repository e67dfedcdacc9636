import torch


def flow_pair(x0, noise, t):
    target = noise - x0
    return x0 + t[:, None, None, None] * target, target


def from_velocity(v, x, t):
    x0 = x - t.reshape([-1] + [1] * (x.ndim - 1)) * v
    return x0 + v, x0


def flow_sample(velocity, x, times):
    y = torch.clone(x)
    for i in range(len(times) - 1):
        y = torch.add(y, velocity(y, times[i]), alpha=times[i + 1] - times[i])
    return y


def sample_other_time(velocity, x, times):
    return flow_sample(lambda y, t: -velocity(y, 1 - t), x, times)
