"""How the code is laid out: sizes, names, and where things may stand."""

import ast
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted(
    path.relative_to(ROOT)
    for folder in ("colonies", "runtimes")
    for path in (ROOT / folder).rglob("*.py")
)
TREES = {path: ast.parse((ROOT / path).read_text()) for path in MODULES}

MOST_LINES = 400
MOST_LINES_OF_A_FUNCTION = 50
VAGUE = {"utils", "util", "helpers", "helper", "manager", "common", "misc"}

# Where anything may be caught: each logs it once, or says it in our words, and goes on.
CATCH_ALL = {
    "colonies/core/identity.py": 1,  # coincurve raises bare Exception
    "colonies/batch.py": 1,  # whoever asked hears of it
    "colonies/server/connection.py": 1,  # one message must not take the others down
    "colonies/server/dispatch.py": 1,  # here errors become replies
    "colonies/server/leader.py": 1,  # the other duties go on
    "colonies/server/peers.py": 1,  # what is heard next is heeded
    "colonies/server/ticker.py": 1,  # the pass goes on
    "runtimes/daemon.py": 1,  # a plugin may not start
    "runtimes/execution.py": 2,  # a process that broke is closed as failed; so may the asking
    "runtimes/launcher.py": 2,  # a plugin may not load, or its check may break
    "runtimes/python/signatures.py": 1,  # an annotation is code
    "runtimes/python/child.py": 2,  # whatever a function, or a module, raises is its answer
}


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_a_file_has_400_lines_at_most(path):
    assert len((ROOT / path).read_text().splitlines()) <= MOST_LINES


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_a_function_has_50_lines_at_most(path):
    long = {
        node.name: node.end_lineno - node.lineno + 1
        for node in ast.walk(TREES[path])
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno - node.lineno + 1 > MOST_LINES_OF_A_FUNCTION
    }
    assert long == {}


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_a_module_has_a_docstring_of_a_sentence(path):
    docstring = ast.get_docstring(TREES[path]) or ""
    assert docstring.splitlines()
    assert any(docstring.split("\n\n")[0].rstrip().endswith(end) for end in ".:")


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_a_module_says_by_its_name_what_is_in_it(path):
    assert path.stem not in VAGUE


def catch_alls(tree: ast.Module) -> int:
    return sum(
        isinstance(node, ast.ExceptHandler)
        and (node.type is None or getattr(node.type, "id", "") in {"Exception", "BaseException"})
        and not any(isinstance(last, ast.Raise) and last.exc is None for last in node.body)
        for node in ast.walk(tree)
    )


def test_anything_is_caught_in_few_named_places():
    found = Counter({str(path): catch_alls(tree) for path, tree in TREES.items()})
    assert dict(+found) == CATCH_ALL


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_sql_stands_in_sql_files(path):
    words = {
        word
        for node in ast.walk(TREES[path])
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for word in node.value.split()
    }
    docstrings = {word for doc in docs(TREES[path]) for word in doc.split()}
    assert {"SELECT", "INSERT", "UPDATE"} & (words - docstrings) == set()


def docs(tree: ast.Module) -> list[str]:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(tree) if isinstance(node, documented)]
    return [ast.get_docstring(node) or "" for node in nodes]


def test_nothing_at_the_top_of_a_module_changes():
    """An empty list, set or dictionary there is there to be filled."""
    found = {
        f"{path}:{node.lineno}"
        for path, tree in TREES.items()
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        and isinstance(node.value, ast.List | ast.Dict | ast.Set)
        and not (getattr(node.value, "elts", None) or getattr(node.value, "keys", None))
    }
    assert found == set()


def test_nobody_makes_a_task_that_nobody_owns():
    """A bare statement ``create_task(…)`` outside a group is lost, and with it its error."""
    found = [
        f"{path}:{node.lineno}"
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Attribute)
        and node.value.func.attr == "create_task"
        and getattr(node.value.func.value, "id", "") in {"asyncio", "loop"}
    ]
    assert found == []


def test_no_test_waits_for_the_clock():
    """``sleep(0)`` only lets the loop run."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "sleep"
        and not (isinstance(node.args[0], ast.Constant) and node.args[0].value == 0)
    ]
    assert found == []
