"""Chapter 12: where the errors of the original homework sit."""

from .common import BLUE, GREEN, ORANGE, RED, axes, figure

ERRORS = (
    ("the log outside the expectation", "formula", "task"),
    ("an equality that is only a bound", "formula", "both"),
    ("factors with their arrows turned round", "formula", "task"),
    ("'max' in an equation; for which parameters?", "formula", "answer"),
    ("64 times less memory; it is 48", "explanation", "task"),
    ("image_grid works for one kind of list", "code", "task"),
    ("typed-in constants, global seed, old names", "code", "task"),
    ("the LMS section runs Heun", "experiment", "answer"),
    ("'fastest', never timed; equal steps, unequal cost", "conclusion", "answer"),
    ("one picture per claim", "conclusion", "answer"),
)
PLACES = {"formula": BLUE, "explanation": GREEN, "code": GREEN, "experiment": ORANGE, "conclusion": RED}


def table_of_errors() -> str:
    """Each error as a dot in the column of those who made it."""
    drawn, panel = axes(width=7.4, height=3.4)
    columns = {"task": (0,), "answer": (1,), "both": (0, 1)}
    for row, (what, place, who) in enumerate(ERRORS):
        for column in columns[who]:
            panel.plot(column, -row, "o", color=PLACES[place], markersize=9)
        panel.annotate(what, (1.45, -row), va="center", fontsize=9)
        panel.annotate(place, (-0.45, -row), va="center", ha="right", fontsize=9, color=PLACES[place])
    panel.set(xlim=(-1.6, 5.6), ylim=(-len(ERRORS) + 0.4, 0.9), xticks=[0, 1], xticklabels=["the task", "the answer"], yticks=[])
    panel.xaxis.tick_top()
    panel.tick_params(length=0)
    for side in ("left", "bottom"):
        panel.spines[side].set_visible(False)
    return figure(
        drawn, "errors",
        "A table of ten errors as dots. Four are in formulas, one in an explanation, two in code, one in an experiment, two in "
        "conclusions; six were in the task, five in the answer, one of them in both.",
        "Ten errors of one homework: where they hide, and who made them.",
    )
