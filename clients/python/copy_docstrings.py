"""Copy the docstrings of the blocking classes to their asyncio counterparts: ``python copy_docstrings.py``.

The copies are source text, so editors and type checkers show them. ``tests/client/test_docstrings.py`` checks
that they are up to date. Run this program after a change to a docstring of a blocking class.
"""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).parent / "streamlearn_client"
PAIRS = (  # blocking module, class; asyncio module, class
    ("administration", "Administration", "aio_administration", "AsyncAdministration"),
    ("client", "Client", "aio", "AsyncClient"),
    ("stream", "Stream", "aio_channels", "AsyncStream"),
    ("firehose", "Firehose", "aio_channels", "AsyncFirehose"),
    ("subscription", "Subscription", "aio_channels", "AsyncSubscription"),
)

Function = ast.FunctionDef | ast.AsyncFunctionDef


def methods(source: str, class_name: str) -> dict[str, Function]:
    """Return the public methods and properties of a class."""
    body = next(
        node.body
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef) and node.name == class_name
    )
    functions = (node for node in body if isinstance(node, Function))
    return {node.name: node for node in functions if not node.name.startswith("_")}


def docstring_lines(node: Function) -> slice:
    """Return the lines of a method's docstring; an empty slice before its body if it has none."""
    first = node.body[0]
    start = first.lineno - 1
    has_docstring = ast.get_docstring(node) is not None
    return slice(start, first.end_lineno if has_docstring else start)


def updated(target: str, target_class: str, source: str, source_class: str) -> str:
    """Return the text of module ``target`` with the docstrings of ``source``."""
    originals = methods(source, source_class)
    lines, source_lines = target.splitlines(keepends=True), source.splitlines(keepends=True)
    for name, node in reversed(
        methods(target, target_class).items()
    ):  # from the end: line numbers stay valid
        if name in originals:
            docstring = source_lines[docstring_lines(originals[name])]
            nested = any(isinstance(statement, Function) for statement in node.body[:2])
            replaced = docstring_lines(node)
            if nested and lines[replaced.stop - 1 : replaced.stop + 1][-1].strip():
                docstring = [*docstring, "\n"]  # a blank line before a nested function
            lines[replaced] = docstring
    return "".join(lines)


def main() -> None:
    """Update the asyncio modules."""
    for source, source_class, target, target_class in PAIRS:
        path = PACKAGE / f"{target}.py"
        text = (PACKAGE / f"{source}.py").read_text()
        path.write_text(updated(path.read_text(), target_class, text, source_class))


if __name__ == "__main__":
    main()
