"""Chapter 1: the bound and its gap, on a table of six numbers."""

import numpy as np

from .common import BLUE, GREY, ORANGE, axes, figure

# p(x, z) for one observed x and six values of z. Any positive numbers would do.
JOINT = np.array([0.02, 0.09, 0.15, 0.08, 0.04, 0.02])


def parts(q: np.ndarray, joint: np.ndarray = JOINT) -> tuple[float, float, float]:
    """(log p(x), ELBO, KL(q || posterior)) in nats."""
    evidence = joint.sum()
    posterior = joint / evidence
    return float(np.log(evidence)), float(q @ np.log(joint / q)), float(q @ np.log(q / posterior))


def gap() -> str:
    posterior = JOINT / JOINT.sum()
    poor = np.array([0.30, 0.10, 0.05, 0.05, 0.15, 0.35])
    share = np.linspace(0, 1, 101)
    bound = [parts((1 - s) * poor + s * posterior)[1] for s in share]
    drawn, (left, right) = axes(1, 2, width=7.4, height=2.9, width_ratios=[1, 1.35])
    z = np.arange(1, 7)
    left.bar(z - 0.2, posterior, 0.38, color=ORANGE, label="posterior p(z | x)")
    left.bar(z + 0.2, poor, 0.38, color=BLUE, label="a poor guess q(z | x)")
    left.set(xlabel="z", ylabel="probability", xticks=z, ylim=(0, 0.56))
    left.legend(loc="upper left")
    evidence = np.log(JOINT.sum())
    right.axhline(evidence, color=ORANGE)
    right.plot(share, bound, color=BLUE)
    right.fill_between(share, bound, evidence, color=GREY, alpha=0.25, lw=0)
    right.annotate("log p(x)", (0.0, evidence), (0, 4), textcoords="offset points", va="bottom")
    right.annotate("the bound", (0.62, bound[62]), (6, -16), textcoords="offset points")
    right.annotate("", (0.06, bound[6]), (0.06, evidence), arrowprops={"arrowstyle": "<->", "color": GREY})
    right.annotate(f"the gap: {evidence - bound[6]:.2f}", (0.08, evidence - 0.3), va="center")
    right.set(xlabel="how far q has moved from the guess to the posterior", ylabel="nats", ylim=(None, evidence + 0.18))
    return figure(
        drawn,
        "elbo-gap",
        "Left: bars of the posterior over six values of z and of a poor guess q, which differ. Right: the bound rises "
        "and meets the level line log p(x) when q has become the posterior.",
        "One observed x, six possible causes z. As the guess q moves to the posterior, the bound rises until it "
        "touches log p(x). The shaded gap is what this chapter is about.",
        stack=True,
    )
