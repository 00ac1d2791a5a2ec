"""What a linter does not know: sizes, names and habits that this code base keeps."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

from metadata.config_keys import BROKER_KEYS, TOPIC_KEYS

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("kafkawire", "logstore", "metadata", "replication", "kraft", "cli", "chaos")
CORES = ("kafkawire", "logstore", "metadata", "replication")

MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 50
MAX_CONSTRUCTOR_PARAMETERS = 7
BANNED_NAMES = {"utils", "util", "common", "helpers", "helper", "misc"}
UNPICKLERS = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "marshal", "shelve"}

RATCHET: dict[str, int] = {}
"""What is larger than the limits allow, and the size it may have. Entries get smaller or go; none comes."""


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def sources(*folders: str) -> Iterator[tuple[str, Path]]:
    """Every Python file below `folders`, with its path relative to the repository."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), path


def functions(module: ast.Module) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Every function of a module with its dotted name; nested ones count into the one around them."""
    pending: list[tuple[str, ast.stmt]] = [("", statement) for statement in module.body]
    while pending:
        prefix, node = pending.pop()
        if isinstance(node, ast.ClassDef):
            pending.extend((f"{prefix}{node.name}.", statement) for statement in node.body)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{prefix}{node.name}", node


def imported(module: ast.Module) -> Iterator[str]:
    """The dotted names that a module imports, wherever in it."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the end, the docstring not counted."""
    docstring = node.body[0] if ast.get_docstring(node, clean=False) is not None else None
    skipped = 0 if docstring is None else (docstring.end_lineno or 0) - docstring.lineno + 1
    return (node.end_lineno or 0) - node.lineno + 1 - skipped


def constructor_parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How many parameters a constructor takes, `self` apart."""
    return len(node.args.posonlyargs) + len(node.args.args) + len(node.args.kwonlyargs) - 1


def measured_sizes() -> dict[str, tuple[int, int]]:
    """`{place: (size, limit)}` for everything in our packages that has a size."""
    sizes: dict[str, tuple[int, int]] = {}
    for name, path in sources(*PACKAGES):
        sizes[name] = (len(path.read_text(encoding="utf-8").splitlines()), MAX_MODULE_LINES)
        for function, node in functions(parsed(path)):
            sizes[f"{name}:{function}"] = (body_lines(node), MAX_FUNCTION_LINES)
            if function.endswith("__init__"):
                size = constructor_parameters(node)
                sizes[f"{name}:{function}()"] = (size, MAX_CONSTRUCTOR_PARAMETERS)
    return sizes


def test_sizes_stay_below_their_limits() -> None:
    too_large = [
        f"{place} has {size}, {RATCHET.get(place, limit)} are allowed"
        for place, (size, limit) in measured_sizes().items()
        if size > RATCHET.get(place, limit)
    ]
    assert not too_large, "\n".join(too_large)


def test_the_ratchet_only_shrinks() -> None:
    sizes = measured_sizes()
    loose = []
    for place, allowed in RATCHET.items():
        size, limit = sizes.get(place, (0, 0))
        if size <= limit:
            loose.append(f"{place} keeps the limit now: remove it from RATCHET")
        elif size < allowed:
            loose.append(f"{place} has {size} now: write that instead of {allowed}")
    assert not loose, "\n".join(loose)


def test_no_module_is_named_after_nothing() -> None:
    bad = [name for name, path in sources(*PACKAGES, "tests") if BANNED_NAMES & {path.stem, *path.parts}]
    assert not bad, f"name the thing that is in there: {bad}"


def test_everything_public_says_what_it_is() -> None:
    missing = []
    for name, path in sources(*PACKAGES):
        module = parsed(path)
        if path.stem != "__init__" and ast.get_docstring(module) is None:
            missing.append(name)
        for node in module.body:
            kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
            if isinstance(node, kinds) and not node.name.startswith("_") and ast.get_docstring(node) is None:
                missing.append(f"{name}:{node.lineno} {node.name}")
    assert not missing, "without a docstring:\n" + "\n".join(missing)


def test_cores_are_synchronous() -> None:
    asynchronous = ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith
    bad = [
        f"{name}:{node.lineno}"
        for name, path in sources(*CORES)
        for node in ast.walk(parsed(path))
        if isinstance(node, asynchronous)
    ]
    assert not bad, f"async code in a core: {bad}"


def test_nothing_is_unpickled() -> None:
    bad = [
        f"{name} imports {module}"
        for name, path in sources(*PACKAGES)
        for module in imported(parsed(path))
        if module.split(".")[0] in UNPICKLERS
    ]
    assert not bad, "\n".join(bad)


def test_no_handler_tests_a_version() -> None:
    """Version differences end in the codec, which fills in defaults."""
    orderings = ast.Lt | ast.LtE | ast.Gt | ast.GtE
    bad = []
    for name, path in sources("kraft/broker/handlers"):
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Compare) and any(isinstance(op, orderings) for op in node.ops):
                names = {ast.unparse(side).split(".")[-1] for side in (node.left, *node.comparators)}
                if names & {"version", "api_version"}:
                    bad.append(f"{name}:{node.lineno} {ast.unparse(node)}")
    assert not bad, "\n".join(bad)


def is_real_sleep(node: ast.AST) -> bool:
    """A call of `sleep` that takes time; `asyncio.sleep(0)` only lets others run."""
    if not isinstance(node, ast.Call) or ast.unparse(node.func).split(".")[-1] != "sleep":
        return False
    only_yields = len(node.args) == 1 and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0
    return not only_yields


def test_tests_neither_sleep_nor_mock() -> None:
    bad = []
    for name, path in sources("tests"):
        module = parsed(path)
        bad += [f"{name}:{node.lineno} sleeps" for node in ast.walk(module) if is_real_sleep(node)]
        bad += [f"{name} mocks" for other in imported(module) if other.startswith("unittest.mock")]
    assert not bad, "wait for the event, or pass in a fake with behaviour:\n" + "\n".join(bad)


@pytest.mark.parametrize(
    ("source", "sleeps"),
    [("time.sleep(1)", True), ("sleep(x)", True), ("asyncio.sleep(0)", False), ("asyncio.sleep(0.1)", True)],
)
def test_a_sleep_is_recognised(source: str, sleeps: bool) -> None:
    assert any(is_real_sleep(node) for node in ast.walk(ast.parse(source))) == sleeps


def test_sizes_are_counted_without_docstring_and_self() -> None:
    source = (
        'class A:\n    def __init__(self, a, *, b=2):\n        """One\n        two."""\n        self.a = a\n'
    )
    ((name, node),) = functions(ast.parse(source))
    assert (name, body_lines(node), constructor_parameters(node)) == ("A.__init__", 2, 2)


def test_a_key_of_a_node_that_nothing_asks_for_says_so() -> None:
    table = {f"metadata/config_{kind}_keys.py" for kind in ("broker", "group", "node", "topic")}
    code = "".join(
        path.read_text(encoding="utf-8") for name, path in sources(*PACKAGES[:-1]) if name not in table
    )
    behind_topics = {synonym.name for key in TOPIC_KEYS.values() for synonym in key.synonyms}
    internal = tuple(f"{prefix}." for prefix in ("offsets.topic", "transaction.state.log"))
    silent = {
        name
        for name in BROKER_KEYS.keys() - behind_topics
        if f'"{name}"' not in code and not name.startswith(internal)
    }
    assert silent == {name for name, key in BROKER_KEYS.items() if "without effect" in key.doc}
