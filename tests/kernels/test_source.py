"""Rules for the source of kernels that Numba does not check: see "Kernels and lanes" in the documentation."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from streamlearn.kernels.compiler.cache import KERNELS

MOST_PARAMETERS = 12
COMPILED = {"kernel", "called_kernel", "device", "allocating_device"}


def decorators(function: ast.FunctionDef) -> set[str]:
    """The names of the decorators, with and without arguments."""
    called = [each.func if isinstance(each, ast.Call) else each for each in function.decorator_list]
    return {each.id for each in called if isinstance(each, ast.Name)}


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def crowded(function: ast.FunctionDef) -> bool:
    """Whether a function other than an entry point has too many parameters. Named tuples group them."""
    arguments = function.args
    count = len(arguments.posonlyargs) + len(arguments.args) + len(arguments.kwonlyargs)
    return count > MOST_PARAMETERS and "kernel" not in decorators(function)


def assigns_a_slice(function: ast.FunctionDef) -> bool:
    """Whether a compiled function assigns to a slice. Numba then compiles the text of an error: 1 s."""
    if not decorators(function) & COMPILED:
        return False
    targets = [
        target
        for node in ast.walk(function)
        if isinstance(node, (ast.Assign, ast.AugAssign))
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    ]
    return any(isinstance(part, ast.Slice) for target in targets for part in ast.walk(target))


def found(rule) -> list[str]:
    """The functions of all kernel files that break a rule."""
    files = sorted(KERNELS.rglob("*.py"))
    assert len(files) > 20
    return [
        f"{file.relative_to(KERNELS)}: {function.name}"
        for file in files
        for function in functions(ast.parse(file.read_text()))
        if rule(function)
    ]


def test_no_function_has_too_many_parameters():
    assert found(crowded) == []


def test_no_kernel_assigns_to_a_slice():
    assert found(assigns_a_slice) == []


MANY = ", ".join(f"p{number}" for number in range(MOST_PARAMETERS + 1))


@pytest.mark.parametrize(
    ("source", "rule", "broken"),
    [
        (f"@device\ndef f({MANY}): pass", crowded, True),
        (f"def f({MANY}): pass", crowded, True),
        (f"@kernel('void()')\ndef f({MANY}): pass", crowded, False),
        ("@device\ndef f(a): a[1:] = 0", assigns_a_slice, True),
        ("@kernel('void()')\ndef f(a): a[:, 0] += 1", assigns_a_slice, True),
        ("@allocating_device\ndef f(a):\n    for i in a:\n        x, a[i, :] = 1, 2", assigns_a_slice, True),
        ("@device\ndef f(a): a[0] = a[1:].size", assigns_a_slice, False),
        ("def f(a): a[:] = 0", assigns_a_slice, False),
    ],
)
def test_the_rules_find_what_they_forbid(source, rule, broken):
    (function,) = functions(ast.parse(source))
    assert rule(function) == broken
