"""Chapter 11: the homework's experiments on the shipped model, from the numbers in docs/assets/lab.

Those are the settings.csv and claims.csv of a report, and two of its picture grids; chapter 11 prints the command that makes
them. They take longer than a build of the site may, so they are committed.
"""

import csv
import html
from functools import cache

from PIL import Image

from .common import BLUE, CYCLE, ROOT, SAMPLER_STYLE, axes, figure, picture

FOLDER = ROOT / "docs" / "assets" / "lab"
NAMES = ("ddpm", "ddim", "pndm", "lms", "heun", "euler", "euler_ancestral", "dpmpp_2m")


@cache
def settings() -> list[dict]:
    """One row for each setting, numbers as numbers."""
    def number(text: str) -> float | str:
        try:
            return float(text)
        except ValueError:
            return text

    with (FOLDER / "settings.csv").open(newline="", encoding="utf-8") as file:
        return [{name: number(text) for name, text in row.items()} for row in csv.DictReader(file)]


def chosen(vae: str = "", text_encoder: str = "", **wanted) -> list[dict]:
    """The rows with these values, in order of steps and guidance; the model's own parts unless others are named."""
    wanted |= {"vae": vae, "text_encoder": text_encoder}
    return sorted((row for row in settings() if all(row[name] == value for name, value in wanted.items())),
                  key=lambda row: (row["steps"], row["guidance"]))


def one(**wanted) -> dict:
    """The only row with these values."""
    (row,) = chosen(**wanted)
    return row


def claims() -> str:
    """The homework's claims and what the sweep says, as an HTML table."""
    with (FOLDER / "claims.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    body = "".join(f"<tr><td>{html.escape(row['text'])}</td><td><strong>{html.escape(row['verdict'])}</strong></td>"
                   f"<td>{html.escape(row['evidence'])}</td></tr>\n" for row in rows)
    return f"<table>\n<thead><tr><th>claim</th><th>here</th><th>numbers</th></tr></thead>\n<tbody>\n{body}</tbody></table>\n"


def quality(guidance: float) -> str:
    """Share of right pictures of each sampler, over steps and over model calls."""
    drawn, panels = axes(1, 2, width=7.4, height=3.2, sharey=True)
    for panel, cost, label in zip(panels, ("steps", "model_calls"), ("steps", "calls of the U-Net"), strict=True):
        for name in NAMES:
            colour, marker = SAMPLER_STYLE[name]
            rows = chosen(sampler=name, guidance=guidance)
            panel.semilogx([row[cost] for row in rows], [100 * row["right"] for row in rows], color=colour, marker=marker,
                           markersize=4, label=name)
        ticks = sorted({row["steps"] for row in settings()}) + ([200.0] if cost == "model_calls" else [])
        panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        panel.minorticks_off()
        panel.set(xlabel=label)
    panels[0].set(ylabel="right pictures, %")
    panels[1].legend(ncols=2, loc="lower right")
    count = one(sampler="ddim", steps=50, guidance=guidance)["pictures"]
    return figure(
        drawn, "lab-quality",
        "Two plots of the share of right pictures of eight samplers, over steps and over calls of the network.",
        f"The shipped model, guidance {guidance:g}, {count:g} pictures a point. The same runs, over steps and over calls.", stack=True,
    )


def trade(sampler: str = "dpmpp_2m", steps: int = 50) -> str:
    """Right pictures against variety, and saturation, over the guidance scale."""
    rows = chosen(sampler=sampler, steps=float(steps))
    drawn, (left, right) = axes(1, 2, width=7.4, height=3.0)
    bars = [[100 * (row["right"] - row["right_low"]) for row in rows], [100 * (row["right_high"] - row["right"]) for row in rows]]
    left.errorbar([row["variety"] for row in rows], [100 * row["right"] for row in rows], bars, color=BLUE, marker="o", capsize=3)
    for row in rows:
        left.annotate(f"{row['guidance']:g}", (row["variety"], 100 * row["right"]), (6, 5), textcoords="offset points")
    left.set(xlabel="variety between seeds", ylabel="right pictures, %")
    left.margins(0.15)
    right.plot([row["guidance"] for row in rows], [row["saturation"] for row in rows], "o-", color=CYCLE[1], label="saturation")
    right.plot([row["guidance"] for row in rows], [row["clipped"] for row in rows], "s-", color=CYCLE[3], label="burnt values")
    right.set(xlabel="guidance scale", ylim=(0, None))
    right.legend()
    return figure(
        drawn, "lab-trade",
        "Left, right pictures against variety with one point for each guidance scale. Right, saturation and the share of burnt "
        "pixels over the guidance scale.",
        f"{sampler}, {steps} steps. Left: the number at a point is its guidance scale; bars are 95% intervals.", stack=True,
    )


def grid(name: str, alt: str, caption: str) -> str:
    """One of the report's picture grids."""
    with Image.open(FOLDER / f"{name}.png") as image:
        return picture(image.convert("RGB").quantize(256), name, alt, caption, least=600)
