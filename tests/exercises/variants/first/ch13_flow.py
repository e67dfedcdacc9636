def flow_pair(x0, noise, t):
    a = t.view(-1, 1, 1, 1)
    return (1 - a) * x0 + a * noise, noise - x0


def from_velocity(v, x, t):
    a = t.view(-1, 1, 1, 1)
    return x + (1 - a) * v, x - a * v


def flow_sample(velocity, x, times):
    for now, next in zip(times[:-1], times[1:]):
        x = x + (next - now) * velocity(x, now)
    return x


def sample_other_time(velocity, x, times):
    for now, next in zip(times[:-1], times[1:]):
        x = x - (next - now) * velocity(x, 1 - now)
    return x
