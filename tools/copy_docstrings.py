"""Copy the docstrings of the client's blocking classes to their asyncio counterparts.

``make stubs`` runs this file. The copies are source text, so that editors and type checkers show them. A
change of a docstring of a blocking class needs new copies; a test compares the two.
"""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "clients/python/streamlearn_client"
PAIRS = (  # blocking module, class; asyncio module, class
    ("administration", "Administration", "aio_administration", "AsyncAdministration"),
    ("transfers", "Transfers", "aio_transfers", "AsyncTransfers"),
    ("queries", "Queries", "aio_queries", "AsyncQueries"),
    ("client", "Client", "aio", "AsyncClient"),
    ("stream", "Stream", "aio_stream", "AsyncStream"),
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
    """Return the lines from the docstring of a method to its first statement; empty if it has none."""
    first = node.body[0]
    has_docstring = ast.get_docstring(node) is not None
    end = node.body[1].lineno - 1 if has_docstring else first.lineno - 1
    return slice(first.lineno - 1, end)


def updated(target: str, target_class: str, source: str, source_class: str) -> str:
    """Return the text of module ``target`` with the docstrings of ``source``."""
    originals = methods(source, source_class)
    lines, source_lines = target.splitlines(keepends=True), source.splitlines(keepends=True)
    for name, node in reversed(methods(target, target_class).items()):  # from the end: numbers stay valid
        if name not in originals:
            continue
        docstring = source_lines[docstring_lines(originals[name])]
        statement = node.body[ast.get_docstring(node) is not None]
        if isinstance(statement, Function):
            docstring = [*docstring, "\n"]
        lines[docstring_lines(node)] = docstring
    return "".join(lines)


def updated_modules() -> dict[Path, str]:
    """Return the asyncio modules with current docstrings."""
    texts: dict[Path, str] = {}
    for source, source_class, target, target_class in PAIRS:
        path = PACKAGE / f"{target}.py"
        text = texts.get(path) or path.read_text()
        texts[path] = updated(text, target_class, (PACKAGE / f"{source}.py").read_text(), source_class)
    return texts


if __name__ == "__main__":
    for path, text in updated_modules().items():
        path.write_text(text)
