"""Reads LaTeX, decides whether it is true, and explains what is wrong.

    from course.equations import judge, judge_derivation
    judge(r"\\log p(x) \\geq \\mathbb{E}_q[\\log \\frac{p(x, z)}{q(z|x)}]").kind          # "bound"

How the verdict is earned: course.equations.judging; what letters mean: course.equations.symbols;
how to declare a setting: course.equations.settings.
"""

from course.equations.judge import judge, judge_derivation
from course.equations.judging import Derivation, Step, Verdict
from course.equations.reader import ReadError, read
from course.equations.settings import Setting, settings

__all__ = ["Derivation", "ReadError", "Setting", "Step", "Verdict", "judge", "judge_derivation", "read", "settings"]
