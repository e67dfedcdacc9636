"""Reads LaTeX, decides whether it is true, and explains what is wrong.

    from course.equations import judge, judge_derivation
    judge(r"\\log p(x) \\geq \\mathbb{E}_q[\\log \\frac{p(x, z)}{q(z|x)}]").kind          # "bound"

How a verdict is earned: course.equations.search.probability; what letters mean: course.equations.meaning.symbols;
how to declare a setting: course.equations.meaning.settings.
"""

from course.equations.evidence import Derivation, Step, Verdict
from course.equations.judge import judge, judge_derivation
from course.equations.meaning.settings import Setting, settings
from course.equations.reading.reader import ReadError, read

__all__ = ["Derivation", "ReadError", "Setting", "Step", "Verdict", "judge", "judge_derivation", "read", "settings"]
