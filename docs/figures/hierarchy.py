"""Chapter 2: one chain of variables, two directions."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import to_rgba

from .common import BLUE, GREEN, GREY, INK, ORANGE, RED, axes, figure


def two_walks() -> str:
    drawn, ax = axes(width=7.4, height=2.5)
    for i, name in enumerate(["$x$", "$z_1$", "$z_2$", r"$\cdots$", "$z_{T-1}$", "$z_T$"]):
        if i != 3:
            ax.add_patch(plt.Circle((i, 0), 0.27, fc=to_rgba(GREY, 0.3) if i == 0 else "none", ec=INK, lw=1.2))
        ax.text(i, 0, name, ha="center", va="center", fontsize=14)
    style = {"arrowstyle": "->", "lw": 1.8, "connectionstyle": "arc3,rad=-0.55"}
    for i in range(5):
        ax.annotate("", (i + 0.8, 0.2), (i + 0.2, 0.2), arrowprops={**style, "color": BLUE})
        ax.annotate("", (i + 0.2, -0.2), (i + 0.8, -0.2), arrowprops={**style, "color": ORANGE})
    names = {0: ("$q(z_1|x)$", "$p(x|z_1)$"), 1: ("$q(z_2|z_1)$", "$p(z_1|z_2)$"), 4: ("$q(z_T|z_{T-1})$", "$p(z_{T-1}|z_T)$")}
    for i, (q, p) in names.items():
        ax.text(i + 0.5, 0.52, q, color=BLUE, ha="center", va="bottom", fontsize=12)
        ax.text(i + 0.5, -0.52, p, color=ORANGE, ha="center", va="top", fontsize=12)
    ax.text(5.4, 0, "$p(z_T)$", color=ORANGE, va="center", fontsize=12)
    ax.set(xlim=(-0.5, 6.1), ylim=(-0.85, 0.85), aspect="equal")
    ax.axis("off")
    return figure(
        drawn,
        "two-walks",
        "Circles x, z1, z2 up to zT in a row. Arrows above lead from x to the right; each is named q of the right one given "
        "the left one. Arrows below lead from zT to the left; each is named p of the left one given the right one.",
        "One hierarchy, two directions. The encoder q walks up, from the picture x to the top. The decoder p starts at the top "
        "and walks down. Chapter 3 will call the same two walks noising and denoising.",
    )


def joint(hidden: int, memory: bool = False) -> np.ndarray:
    """p(x, z_1 .. z_T) of a decoder that walks down, every variable 0 or 1: axis i is z_i, axis 0 is x. With long memory each step also
    looks at z_T. The numbers are arbitrary."""
    table = np.zeros((2,) * (hidden + 1))
    for cell in itertools.product((0, 1), repeat=hidden + 1):
        p = 0.2 if cell[hidden] else 0.8
        for t in range(hidden, 0, -1):
            one = 0.05 + 0.6 * cell[t] + 0.02 * t + (0.2 * cell[hidden] - 0.04 if memory else 0)
            p *= one if cell[t - 1] else 1 - one
        table[cell] = p
    return table


def product(table: np.ndarray, first: int, turned: set[int]) -> tuple[np.ndarray, list[int]]:
    """p(first) times, for each t, p(z_{t-1}|z_t), or p(z_t|z_{t-1}) where t is in `turned`, all of them conditionals of the table; and how
    often each variable stands left of a bar."""
    def marginal(*keep: int) -> np.ndarray:
        return table.sum(axis=tuple(set(range(table.ndim)) - set(keep)), keepdims=True)

    out, counts = marginal(first) * np.ones_like(table), [0] * table.ndim
    counts[first] = 1
    for t in range(1, table.ndim):
        left, given = (t, t - 1) if t in turned else (t - 1, t)
        out = out * marginal(left, given) / marginal(given)
        counts[left] += 1
    return out, counts


def turned_arrow() -> str:
    """T = 3 with the arrow between z_1 and z_2 the wrong way round."""
    table = joint(3)
    wrong, counts = product(table, 3, {2})
    drawn, ax = axes(width=7.4, height=1.9)
    for i, (name, count) in enumerate(zip(["$x$", "$z_1$", "$z_2$", "$z_3$"], counts, strict=True)):
        ax.add_patch(plt.Circle((2 * i, 0), 0.4, fc=to_rgba(ORANGE, 0.25) if i == 3 else "none", ec=INK, lw=1.2))
        ax.text(2 * i, 0, name, ha="center", va="center", fontsize=13)
        ax.text(2 * i, -0.85, f"{count} ×", ha="center", color=GREEN if count == 1 else RED)
    for t, (name, way) in enumerate([("$p(x|z_1)$", -1), ("$p(z_2|z_1)$", 1), ("$p(z_2|z_3)$", -1)], 1):
        ends = [(2 * t - 1.5, 0), (2 * t - 0.5, 0)]
        ax.annotate("", ends[way > 0], ends[way < 0], arrowprops={"arrowstyle": "->", "lw": 1.8, "color": ORANGE})
        ax.text(2 * t - 1, 0.3, name, ha="center", color=ORANGE, fontsize=11)
    ax.text(6.6, 0, "$p(z_3)$", color=ORANGE, va="center", fontsize=11)
    ax.set(xlim=(-0.6, 7.6), ylim=(-1.1, 0.8), aspect="equal")
    ax.axis("off")
    return figure(
        drawn, "turned-arrow",
        "Circles x, z1, z2, z3. The arrow between z1 and z2 points up instead of down. Below: x once, z1 never, z2 twice, z3 once.",
        f"One arrow turned: z₂ stands left of a bar twice, z₁ never. Over all {table.size} cases this product sums to {wrong.sum():.4f} "
        "in a world of zeros and ones, where the right one sums to 1.",
    )
