"""Understanding without prose: numbers that a student gives as evidence for a claim, in TOML, checked by computing with them.

    q = [0.7, 0.1, 0.1, 0.1]
    p = [0.25, 0.25, 0.25, 0.25]

There is no right answer to compare with: whatever has the property asked for is right, and the feedback says what was found.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from course.grading.errors import CheckFailed
from course.names import did_you_mean

LONGEST = 2000          # characters of TOML


def expect_numbers(answer: str, spec: Mapping[str, Any]) -> None:
    """`answer` is a TOML text with the keys that spec["check"], a name in CHECKS, asks for. Causes: unreadable, wrong_value."""
    if len(answer) > LONGEST:
        raise CheckFailed("unreadable", f"the answer has {len(answer)} characters; some numbers are meant")
    try:
        given = tomllib.loads(answer)
    except (ValueError, RecursionError) as error:
        raise CheckFailed("unreadable", f"this is not TOML, such as q = [0.5, 0.5]: {error}") from None
    CHECKS[spec["check"]](given, spec)


# ---------------------------------------------------------------------------------------------------------- reading


def _value(given: Mapping[str, Any], name: str) -> Any:
    if name not in given:
        raise CheckFailed("unreadable", f"{name} is missing; write {name} = ...")
    return given[name]


def number(value: Any, what: str) -> float:
    """A finite number, written as 0.25 or as "1/4"."""
    if isinstance(value, str) and re.fullmatch(r"\s*-?\d{1,9}\s*/\s*\d{1,9}\s*", value) and int(value.split("/")[1]):
        value = float(Fraction(value.replace(" ", "")))
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or abs(value) > 1e12:
        raise CheckFailed("unreadable", f'{what} should be a number such as 0.25 or "1/4"; it is {str(value)[:60]!r}')
    return float(value)


def numbers(given: Mapping[str, Any], name: str, count: int) -> list[float]:
    value = _value(given, name)
    if not isinstance(value, list) or len(value) != count:
        raise CheckFailed("unreadable", f"{name} should be a list of {count} numbers")
    return [number(item, f"number {i} of {name}") for i, item in enumerate(value, 1)]


def law(given: Mapping[str, Any], name: str, count: int) -> list[float]:
    """`count` probabilities above zero that add up to one, to a millionth."""
    values = numbers(given, name, count)
    if min(values) <= 0:
        raise CheckFailed("wrong_value", f"{name} is a law in which everything is possible: each of its numbers must be above 0")
    if abs(sum(values) - 1) > 1e-6:
        raise CheckFailed("wrong_value", f"{name} should add up to 1; it adds up to {sum(values):.6g}")
    return values


def kl(q: Sequence[float], p: Sequence[float]) -> float:
    """KL(q || p) in nats: the mean over q of log q/p."""
    return math.fsum(a * math.log(a / b) for a, b in zip(q, p, strict=True) if a)


def close(value: float, right: float, what: str, wanted: str, within: float = 0.006) -> None:
    if abs(value - right) > within:
        raise CheckFailed("wrong_value", f"{what} is not {value:g}. {wanted}")


def claim(given: Mapping[str, Any], name: str, right: Any, options: Sequence[Any], why: str) -> None:
    value = _value(given, name)
    if value not in options or type(value) is not type(options[0]):
        shown = " or ".join(str(o).lower() if isinstance(o, bool) else f'"{o}"' for o in options)
        raise CheckFailed("unreadable", f"{name} should be {shown}; it is {str(value)[:40]!r}")
    if value != right:
        raise CheckFailed("wrong_value", f"{name}: {why}")


# ----------------------------------------------------------------------------------------------------------- checks


def two_directions(given: Mapping[str, Any], spec: Mapping[str, Any]) -> None:
    """q and p on four points, near in one direction and far in the other."""
    q, p = law(given, "q", 4), law(given, "p", 4)
    near, far = kl(q, p), kl(p, q)
    found = f"KL(q || p) is {near:.3f} and KL(p || q) is {far:.3f}"
    if near > spec["near"]:
        hint = "it is the other way round: exchange q and p" if far <= spec["near"] and near >= spec["far"] else \
            "where q puts much, p must not be much smaller"
        raise CheckFailed("wrong_value", f"{found}. The first should be at most {spec['near']:g}: {hint}")
    if far < spec["far"]:
        raise CheckFailed("wrong_value", f"{found}. The second should be at least {spec['far']:g}: p must put some weight "
                                         "where q puts next to nothing")


def which_q(given: Mapping[str, Any], spec: Mapping[str, Any]) -> None:
    """Which of three candidates is best in which direction, with both numbers of each."""
    p, candidates = spec["p"], spec["candidates"]
    for name, direction in (("q_to_p", kl), ("p_to_q", lambda q, p: kl(p, q))):
        table = {key: direction(q, p) for key, q in candidates.items()}
        for key, right in table.items():
            values = _value(given, key)
            if not isinstance(values, dict):
                raise CheckFailed("unreadable", f"{key} should be a table such as {{ q_to_p = 0.1, p_to_q = 0.2 }}")
            close(number(_value(values, name), f"{name} of {key}"), right, f"{name} of {key}",
                  "The mean is taken over the first law, of the logarithm of first over second, in nats. Two decimals are enough")
        best = min(table, key=lambda key: table[key])
        claim(given, f"best_{name}", best, list(candidates), "look at your numbers in this direction once more: which is the smallest?")


def codes(given: Mapping[str, Any], spec: Mapping[str, Any]) -> None:
    """Ideal code lengths for p in bits, what they cost on the average for letters from q, and the extra bits and nats."""
    p, q = spec["p"], spec["q"]
    for i, (length, weight) in enumerate(zip(numbers(given, "lengths", len(p)), p, strict=True), 1):
        close(length, -math.log2(weight), f"length {i}", "An ideal code gives a letter of probability w a code of log2(1/w) bits", 1e-3)
    mean = math.fsum(b * -math.log2(a) for a, b in zip(p, q, strict=True))
    least = math.fsum(-b * math.log2(b) for b in q)
    close(number(_value(given, "mean_length"), "mean_length"), mean, "mean_length",
          "The letters come from q, so each length counts as often as q says", 1e-3)
    close(number(_value(given, "shortest"), "shortest"), least, "shortest",
          "With a code made for q, the mean length is q's own entropy", 1e-3)
    close(number(_value(given, "extra_bits"), "extra_bits"), mean - least, "extra_bits", "It is what one pays for the wrong code", 1e-3)
    close(number(_value(given, "extra_nats"), "extra_nats"), (mean - least) * math.log(2), "extra_nats",
          "A bit is ln 2 nats", 1e-3)
    claim(given, "divergence", spec["divergence"], ["q to p", "p to q"],
          "over which law was the mean taken? It is the first one")


def _models(given: Mapping[str, Any]) -> tuple[list[float], dict[str, tuple[float, float]]]:
    """q on two causes, and for models a and b (the bound, log p(x)) of the x that was seen."""
    q, found = law(given, "q", 2), {}
    for name in ("a", "b"):
        joint = numbers(given, name, 2)
        if min(joint) <= 0 or sum(joint) > 1:
            raise CheckFailed("wrong_value", f"{name} is [p(x, z = 0), p(x, z = 1)]: probabilities above 0 that add up to 1 at most")
        found[name] = (math.fsum(w * math.log(j / w) for w, j in zip(q, joint, strict=True)), math.log(sum(joint)))
    return q, found


def _said(found: Mapping[str, tuple[float, float]]) -> str:
    return "; ".join(f"model {name}: ELBO {bound:.3f}, log p(x) {evidence:.3f}" for name, (bound, evidence) in found.items())


def one_bound(given: Mapping[str, Any], spec: Mapping[str, Any]) -> None:
    """Two models with one ELBO for one x and one q, and with two likelihoods."""
    _, found = _models(given)
    (one, first), (other, second) = found["a"], found["b"]
    if abs(one - other) > 0.001:
        raise CheckFailed("wrong_value", f"{_said(found)}. The two bounds should agree to 0.001")
    if abs(first - second) < spec["apart"]:
        raise CheckFailed("wrong_value", f"{_said(found)}. The two log p(x) should be at least {spec['apart']:g} apart: make one "
                                         "gap large, by a posterior far from q")


def ranking(given: Mapping[str, Any], spec: Mapping[str, Any]) -> None:
    """"The model with the higher bound explains x better": false, with two models that show it."""
    claim(given, "claim", False, [True, False],
          "a bound can be high because the model is good or because the gap is small. Which of the two do you see?")
    _, found = _models(given)
    (one, first), (other, second) = found["a"], found["b"]
    if one < other + spec["apart"]:
        raise CheckFailed("wrong_value", f"{_said(found)}. Model a should have the higher bound, by {spec['apart']:g} at least")
    if first > second - spec["apart"]:
        raise CheckFailed("wrong_value", f"{_said(found)}. Model a should have the lower log p(x), by {spec['apart']:g} at least")


def self_test(given: Mapping[str, Any], spec: Mapping[str, Any]) -> None:
    """Questions with one short answer each, of which `least` have to be right; says what to look up and not what is right."""
    questions = spec["questions"]
    missed = [question["about"] for name, question in questions.items() if not _answers(given.get(name), question)]
    right = len(questions) - len(missed)
    if right < spec["least"]:
        raise CheckFailed("wrong_value", f"{right} of {len(questions)} are right; {spec['least']} are enough. "
                                         f"Look up: {'; '.join(missed)}.")


def _answers(value: Any, question: Mapping[str, Any]) -> bool:
    """Whether a value is the right one: words whatever their capitals, numbers within a little, lists number by number."""
    right = question["right"]
    if isinstance(right, str):
        return isinstance(value, str) and value.strip().lower() == right.lower()
    if isinstance(right, list):
        return value == right
    try:
        return abs(number(value, "the answer") - right) <= question.get("within", 1e-6)
    except CheckFailed:
        return False


def prediction(given: Mapping[str, Any], spec: Mapping[str, Any]) -> None:
    """What was predicted, whatever it is, and what was then measured, which has to be what the experiment gives.

    spec["measured"]: name -> {value, within} of a number, {value, options} of a word.
    """
    fields, tables = spec["measured"], {}
    for name, asked in (("predicted", "say what you expect, before you run anything; a wrong guess costs nothing"),
                        ("measured", "run the lines of the task and write down what they print")):
        if not isinstance(given.get(name), dict):
            raise CheckFailed("unreadable", f"there is no table [{name}]: {asked}")
        tables[name] = given[name]
    for name, field in fields.items():
        for table, where in (("predicted", "your predictions"), ("measured", "what was measured")):
            if name not in tables[table]:
                raise CheckFailed("unreadable", f"{name} is missing from {where}")
            value, what = tables[table][name], f"{name} of {where}"
            if "options" in field and value not in field["options"]:
                words = " or ".join(json.dumps(option) for option in field["options"])
                raise CheckFailed("unreadable", f"{what} should be {words}; it is {str(value)[:40]!r}")
            if "options" not in field:
                tables[table][name] = number(value, what)
    missed = [name for name, field in fields.items() if (tables["measured"][name] != field["value"] if "options" in field else
                                                         abs(tables["measured"][name] - field["value"]) > field["within"])]
    if missed and all(tables["measured"][name] == tables["predicted"][name] for name in fields):
        raise CheckFailed("wrong_value", "these are your predictions once more; run the lines of the task and write down what they print")
    if missed:
        raise CheckFailed("wrong_value", f"{missed[0]} was not measured as {tables['measured'][missed[0]]}: run the lines of the task as "
                                         "they stand there, and write down what they print")


def issues(given: Mapping[str, Any], spec: Mapping[str, Any]) -> None:
    """What is wrong with the cells of a notebook, one word each, and the numbers that show it.

    spec["cells"]: cell -> its fault, "none" for a good one; spec["faults"]: word -> what it means; spec["evidence"]: cell -> number.
    A part of the points is earned for every cell that is judged rightly, above what calling all of them good would earn.
    """
    cells, faults, evidence = spec["cells"], spec["faults"], spec.get("evidence", {})
    for cell in cells:
        value = _value(given, cell)
        if value not in faults:
            near = did_you_mean(str(value)[:40], list(faults), cutoff=0.5)
            raise CheckFailed("unreadable", f"{cell} should be one of {', '.join(faults)}; it is {str(value)[:40]!r}{near}")
    missed = [cell for cell, fault in cells.items() if given[cell] == "none" != fault]
    alarms = [cell for cell, fault in cells.items() if given[cell] != "none" == fault]
    other = [cell for cell, fault in cells.items() if given[cell] != fault and "none" not in (given[cell], fault)]
    planted = sum(fault != "none" for fault in cells.values())
    earned = max(0.0, (planted - len(missed) - len(other) - len(alarms)) / planted) * 0.8
    said = ([f"something is wrong with {len(missed)} of the cells that you call good"] if missed else []) + [
        f"{cell} is good as it stands" for cell in alarms[:1]] + [
        f"{cell} has a fault, and another one than {given[cell]} ({faults[given[cell]]})" for cell in other[:1]]
    if said:
        raise CheckFailed("wrong_value", "; ".join(said), earned)
    for cell, right in evidence.items():
        name = f"{cell}_evidence"
        if abs(number(_value(given, name), name) - right) > 1e-6:
            raise CheckFailed("wrong_value", f"every fault is found; {name} is not {given[name]}, which does not show that of {cell}", 0.8)


CHECKS: dict[str, Callable[[Mapping[str, Any], Mapping[str, Any]], None]] = {
    "two_directions": two_directions, "which_q": which_q, "codes": codes, "one_bound": one_bound, "ranking": ranking,
    "self_test": self_test, "prediction": prediction,
    "issues": issues}
