"""Chapter 2: one chain of variables, two directions."""

import matplotlib.pyplot as plt
from matplotlib.colors import to_rgba

from .common import BLUE, GREY, INK, ORANGE, axes, figure


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
