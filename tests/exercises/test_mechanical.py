"""Mutation testing without imagination: every small edit of the right variants that a program can think of.

An operator exchanged, an operand or a call left out, a number one larger or twice as large, a comparison turned: each must be
rejected, but for those in EQUIVALENT, which change nothing that the exercise promises. The planted mistakes of test_variants.py
ask whether the feedback is good; this asks whether anything slips through.
"""

import ast
import copy
from collections.abc import Iterator
from pathlib import Path

import pytest

from course.grading.manifest import load_tasks
from course.grading.progress import _time_limit
from course.grading.run import load_checks, run_task
from course.grading.student import DirectStudent

HERE = Path(__file__).parent
FIRST = HERE / "variants" / "first"
TASKS = load_tasks(HERE)

# (task, the part that is edited, what it becomes)
EQUIVALENT = {
    ("ch06.plms_sample", "3", "4"), ("ch06.plms_sample", "3", "6"),            # a longer history than is used
    ("ch06.lms_sample", "3", "4"), ("ch06.lms_sample", "3", "6"),
    # the slope of a fit: one of the two need not be measured from its mean
    *(("ch06.measured_order", "sum((e for _, e in pairs)) / len(pairs)", other) for other in (
        "sum((e for _, e in pairs)) * len(pairs)", "sum((e for _, e in pairs))", "len(pairs)")),
    ("ch06.measured_order", "e - mean_e", "e + mean_e"), ("ch06.measured_order", "e - mean_e", "e"),
    ("ch06.measured_order", "n - mean_n", "n + mean_n"), ("ch06.measured_order", "n - mean_n", "n"),          # in the upper sum
    ("ch09.timestep_embedding", "dim // 2", "dim / 2"),                        # dim is even
    ("ch09.timestep_embedding", "t[:, None].float()", "t[:, None]"),           # times a float it is one anyway
    ("ch09.latent_shape", "0", "1"),                                           # 1 is no multiple of a factor above 1
    ("ch09.token_ids", "[start] + ids[:length - 2] + [end]", "[start] + ids[:length - 2]"),        # the padding is the end mark, too
    ("ch09.causal_attention", "-2", "2"), ("ch09.cross_attention", "-2", "2"),                     # of four axes
    ("ch09.causal_attention", "-1", "3"), ("ch09.cross_attention", "-1", "3"),
    ("ch09.sample_latent", "30", "31"), ("ch09.sample_latent", "30", "60"),                        # exp(-15) is nothing already
    ("ch10.render_image", "2", "3"), ("ch10.render_image", "2", "4"),          # chunk(3) of two is two
    ("ch11.frechet_distance", "inner.clamp(min=0)", "inner"),                  # may be needed, depending on rounding
}
MEASURED = {"ch07.train", "ch07.weights"}          # graded by what a training reaches, which a step size twice as large hardly changes
OPERATORS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult, ast.FloorDiv: ast.Div,
             ast.Mod: ast.FloorDiv}
COMPARISONS = {ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt,), ast.Gt: (ast.GtE,), ast.GtE: (ast.Gt,), ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,)}
CALLS = {"sqrt", "exp", "log", "clamp", "round", "double", "float", "sum", "mean"}


def edits(node: ast.AST) -> Iterator[ast.AST]:
    """What a node may become."""
    if isinstance(node, ast.BinOp):
        if type(node.op) in OPERATORS:
            yield ast.BinOp(node.left, OPERATORS[type(node.op)](), node.right)
        yield node.left
        yield node.right
    elif isinstance(node, ast.Compare):
        for other in COMPARISONS.get(type(node.ops[0]), ()):
            yield ast.Compare(node.left, [other(), *node.ops[1:]], node.comparators)
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield ast.Constant(node.value + 1)
        if node.value:
            yield ast.Constant(node.value * 2)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CALLS:
        module = isinstance(node.func.value, ast.Name) and node.func.value.id in ("math", "torch")
        if not module or node.args:
            yield node.args[0] if module else node.func.value
    elif isinstance(node, ast.UnaryOp):
        yield node.operand


def mutants(tree: ast.Module, function: ast.FunctionDef) -> Iterator[tuple[str, str, str]]:
    """(the part, what it becomes, the whole file's text) for every edit of one function."""
    words = {id(part) for text in ast.walk(function) if isinstance(text, ast.JoinedStr) for part in ast.walk(text)}
    for number, node in enumerate(ast.walk(function)):
        for new in () if id(node) in words else edits(node):     # what an error message says is free
            changed = copy.deepcopy(tree)
            twin = next(n for n in changed.body if getattr(n, "name", "") == function.name)
            target = list(ast.walk(twin))[number]

            class Replace(ast.NodeTransformer):
                def visit(self, node, target=target, new=new):
                    return new if node is target else self.generic_visit(node)

            yield ast.unparse(node), ast.unparse(new), ast.unparse(ast.fix_missing_locations(Replace().visit(changed)))


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(FIRST.glob("*.py")), ids=lambda path: path.stem)
def test_no_mechanical_edit_slips_through(path, tmp_path):
    tree, count, survivors = ast.parse(path.read_text()), 0, []
    for function in tree.body:
        task = TASKS.get(f"{path.stem[:4]}.{getattr(function, 'name', '')}")
        if task is None or task.id in MEASURED:
            continue
        for part, becomes, text in mutants(tree, function):
            if (task.id, part, becomes) in EQUIVALENT:
                continue
            (tmp_path / path.name).write_text(text)
            with _time_limit() as limit:
                def student(task, check, limit=limit):
                    limit(5)
                    return DirectStudent(task, check, 0, tmp_path)

                result = run_task(task, load_checks()[task.id], student)
            count += 1
            assert result.cause != "grader_error", f"{part} -> {becomes}: {result.feedback}"
            if result.status == "passed":
                survivors.append(f"{task.id}: {part} -> {becomes}")
    print(f"{path.stem}: {count} edits, {len(survivors)} survive")
    assert count > 20
    assert not survivors
