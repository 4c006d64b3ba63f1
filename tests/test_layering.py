"""Import rules of the three packages, checked in the source.

- A package imports only the packages it may. An import inside a function does not count here: an
``emulator://`` URL imports the emulator when it is used.
- Inside `redis_emulator` imports run downwards: every folder is a layer.
- No package has an import circle, not even one for type checkers only or inside functions.
- No module assigns a function to an attribute of another module's object, or adds one to a list
there. An object that needs a function gets it as an argument.
- Podlink's core does no IO.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = {
    "podlink": ROOT / "src",
    "redis_emulator": ROOT / "emulator",
    "pytest_podlink": ROOT / "plugin",
}
MAY_IMPORT = {
    "podlink": {"podlink"},
    "redis_emulator": {"redis_emulator"},
    "pytest_podlink": {"podlink", "redis_emulator", "pytest_podlink"},
}

EMULATOR_LAYERS = [
    {"", "__main__", "cli", "standalone", "cluster_emulator", "emulator"},
    {"tools", "transports"},
    {"engine"},
    {"commands"},
    {"scripting", "cluster"},
    {"clients"},
    {"server"},
    {"keyspace", "table", "rdb"},
    {"values", "resp", "clock", "glob", "version", "forks"},
]
"""From the top. A module may import its own layer and those below. A module in no layer fails."""
# Modules that podlink's sans-IO core may not import.
PODLINK_CORE = {
    "keys",
    "models",
    "errors",
    "scripts",
    "operations",
    "replies",
    "calls",
    "drain",
    "repair",
    "cache",
    "routing",
}
PODLINK_SHELL = {
    "executor",
    "running",
    "manager",
    "router",
    "tracking",
    "aio",
    "cli",
    "demo",
    "draining",
}


class Imports(ast.NodeVisitor):
    """Collects the absolute names that a module imports.

    Args:
        module: the module's name.
        package: whether it is a package.
        in_functions: whether imports inside functions count.
    """

    def __init__(self, module: str, *, package: bool, in_functions: bool) -> None:
        self.names: set[str] = set()
        self._package = module.split(".") if package else module.split(".")[:-1]
        self._in_functions = in_functions

    def visit_Import(self, node: ast.Import) -> None:
        self.names.update(alias.name for alias in node.names)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        source = node.module or ""
        if node.level:
            above = self._package[: len(self._package) - node.level + 1]
            source = ".".join([*above, source] if source else above)
        self.names.update(f"{source}.{alias.name}" for alias in node.names)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        if self._in_functions:
            self.generic_visit(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        if self._in_functions:
            self.generic_visit(node)


@functools.cache
def parse(source: str, path: str) -> ast.Module:
    """Parse a file once for all tests."""
    return ast.parse(source, path)


def modules_of(root: Path, package: str) -> Iterator[tuple[str, bool, ast.Module]]:
    """Yield each module of the package under `root`: name, whether it is a package, source."""
    for path in sorted((root / package).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        yield name, is_package, parse(path.read_text(encoding="utf-8"), str(path))


def imports_of(
    root: Path, package: str, *, in_functions: bool = False
) -> Iterator[tuple[str, str]]:
    """Yield each (module, imported name) of the package under `root`, both absolute."""
    for module, is_package, tree in modules_of(root, package):
        imports = Imports(module, package=is_package, in_functions=in_functions)
        imports.visit(tree)
        for name in sorted(imports.names):
            yield module, name


def circles(root: Path, package: str) -> list[list[str]]:
    """Return the groups of modules that import one another in a circle."""
    known = {module for module, _, _ in modules_of(root, package)}
    needs: dict[str, set[str]] = {module: set() for module in known}
    for module, imported in imports_of(root, package, in_functions=True):
        name = imported
        while name not in known and "." in name:
            name = name.rpartition(".")[0]
        if name in known and name != module and not module.startswith(f"{name}."):
            needs[module].add(name)
    reached = {module: _reach(module, needs) for module in needs}
    found = {
        tuple(sorted(other for other in reached[module] if module in reached[other]))
        for module in reached
        if module in reached[module]
    }
    return sorted(map(list, found))


def _reach(start: str, needs: dict[str, set[str]]) -> set[str]:
    """Return all modules that `start` imports, directly or through others."""
    found: set[str] = set()
    left = list(needs[start])
    while left:
        module = left.pop()
        if module not in found:
            found.add(module)
            left.extend(needs[module])
    return found


class FunctionSlots(ast.NodeVisitor):
    """Collects statements that assign a function to an attribute of an object other than `self`."""

    def __init__(self, tree: ast.Module) -> None:
        self.found: list[str] = []
        self._functions: set[str] = set()
        self._methods: set[str] = set()
        for node in ast.walk(tree):
            members = node.body if isinstance(node, ast.ClassDef) else ()
            for member in members:
                if isinstance(member, ast.FunctionDef) and not member.decorator_list:
                    self._methods.add(member.name)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                if node.name not in self._methods:
                    self._functions.add(node.name)

    def visit_Assign(self, node: ast.Assign) -> None:
        if any(map(self._is_foreign, node.targets)) and self._is_function(node.value):
            self.found.append(ast.unparse(node))

    def visit_Call(self, node: ast.Call) -> None:
        name = ast.unparse(node.func)
        if name == "setattr" and self._is_function(node.args[-1]):
            self.found.append(ast.unparse(node))
        if (
            isinstance(node.func, ast.Attribute)
            and node.func.attr in ("append", "add", "insert", "appendleft")
            and self._is_foreign(node.func.value)
            and any(map(self._is_function, node.args))
        ):
            self.found.append(ast.unparse(node))
        self.generic_visit(node)

    def _is_foreign(self, target: ast.expr) -> bool:
        if not isinstance(target, ast.Attribute):
            return False
        return not (isinstance(target.value, ast.Name) and target.value.id in ("self", "cls"))

    def _is_function(self, value: ast.expr) -> bool:
        if isinstance(value, ast.Lambda):
            return True
        if isinstance(value, ast.Name):
            return value.id in self._functions
        if isinstance(value, ast.Attribute) and isinstance(value.value, ast.Name):
            return value.value.id in ("self", "cls") and value.attr in self._methods
        return isinstance(value, ast.Call) and ast.unparse(value.func) in (
            "partial",
            "functools.partial",
        )


def function_slots(root: Path, package: str) -> list[str]:
    """Return the assignments of functions to attributes of objects of another module."""
    found = []
    for module, _, tree in modules_of(root, package):
        slots = FunctionSlots(tree)
        slots.visit(tree)
        found += [f"{module}: {statement}" for statement in slots.found]
    return found


def package_faults(root: Path, package: str) -> list[str]:
    """Return the imports of one of our packages that the package may not import."""
    return [
        f"{module} imports {name}"
        for module, name in imports_of(root, package)
        if name.split(".")[0] in MAY_IMPORT and name.split(".")[0] not in MAY_IMPORT[package]
    ]


def layer(name: str) -> int:
    """Return the layer of a name in `redis_emulator`; 0 is the top, the layer of its `__init__`.

    Raises:
        KeyError: it is in no layer.
    """
    part = [*name.split("."), ""][1]
    if not part.islower():
        part = ""
    for number, modules in enumerate(EMULATOR_LAYERS):
        if part in modules:
            return number
    raise KeyError(f"redis_emulator.{part} is in no layer: give it one in EMULATOR_LAYERS")


def emulator_faults(root: Path) -> list[str]:
    """Return the imports inside `redis_emulator` that run upwards."""
    return [
        f"{module} imports {name}"
        for module, name in imports_of(root, "redis_emulator", in_functions=True)
        if name.split(".")[0] == "redis_emulator" and layer(name) < layer(module)
    ]


def core_faults(root: Path) -> list[str]:
    """Return the modules of podlink's core that import IO: its own shells, sockets, event loops,
    clients.
    """
    barred = {f"podlink.{name}" for name in PODLINK_SHELL} | {"socket", "asyncio"}
    return [
        f"{module} imports {name}"
        for module, name in imports_of(root, "podlink")
        if module.removeprefix("podlink.").split(".")[0] in PODLINK_CORE
        and (name in barred or any(name.startswith(f"{bar}.") for bar in barred))
    ]


@pytest.mark.parametrize("package", SOURCES)
def test_packages_import_only_what_they_may(package: str) -> None:
    assert list(imports_of(SOURCES[package], package)), "nothing read: has the package moved?"
    assert package_faults(SOURCES[package], package) == []


def test_imports_inside_the_emulator_run_downwards() -> None:
    assert emulator_faults(SOURCES["redis_emulator"]) == []


def sibling_faults(root: Path) -> list[str]:
    """Return the modules of `podlink.aio` that import a synchronous module which has an asyncio
    twin.
    """
    twins = {
        f"podlink.{module.rpartition('.')[2]}"
        for module, _ in imports_of(root, "podlink")
        if module.startswith("podlink.aio.")
    }
    return [
        f"{module} imports {name}"
        for module, name in imports_of(root, "podlink")
        if module.startswith("podlink.aio.")
        and any(name == twin or name.startswith(f"{twin}.") for twin in twins)
    ]


def test_no_asyncio_module_imports_a_synchronous_sibling() -> None:
    assert sibling_faults(SOURCES["podlink"]) == []


def test_check_reports_an_import_of_a_synchronous_sibling(tmp_path: Path) -> None:
    package = tmp_path / "podlink" / "aio"
    package.mkdir(parents=True)
    (package / "manager.py").write_text("from podlink.manager import RedisManager")
    assert sibling_faults(tmp_path) == ["podlink.aio.manager imports podlink.manager.RedisManager"]


@pytest.mark.parametrize("package", SOURCES)
def test_no_package_has_an_import_circle(package: str) -> None:
    assert circles(SOURCES[package], package) == []


@pytest.mark.parametrize("package", SOURCES)
def test_no_function_is_assigned_to_an_object_of_another_module(package: str) -> None:
    assert function_slots(SOURCES[package], package) == []


def test_the_core_of_podlink_does_no_io() -> None:
    modules = {module for module, _ in imports_of(SOURCES["podlink"], "podlink")}
    assert {f"podlink.{name}" for name in PODLINK_CORE - {"scripts"}} <= modules
    assert core_faults(SOURCES["podlink"]) == []


@pytest.mark.parametrize(
    ("package", "path", "source", "found"),
    [
        ("podlink", "keys.py", "import redis_emulator", True),
        ("podlink", "keys.py", "try:\n import pytest_podlink.clock\nexcept ImportError: ...", True),
        ("podlink", "keys.py", "class A:\n from redis_emulator import RedisEmulator", True),
        ("podlink", "keys.py", "def f():\n import redis_emulator", False),
        ("podlink", "keys.py", "if TYPE_CHECKING:\n import redis_emulator", True),
        ("podlink", "keys.py", "if TYPE_CHECKING: ...\nelse:\n import redis_emulator", True),
        ("podlink", "keys.py", "from podlink.executor import StatefulExecutor", True),
        ("podlink", "calls.py", "import asyncio", True),
        ("podlink", "keys.py", "from .aio import executor", True),
        ("podlink", "manager.py", "import asyncio", False),
        ("redis_emulator", "clock.py", "import podlink.keys", True),
        ("redis_emulator", "clock.py", "from redis_emulator.engine.dispatch import Engine", True),
        ("redis_emulator", "clock.py", "from redis_emulator import RedisEmulator", True),
        (
            "redis_emulator",
            "values/hash.py",
            "from redis_emulator.keyspace.database import Database",
            True,
        ),
        ("redis_emulator", "values/hash.py", "from .. import engine", True),
        ("redis_emulator", "server/server.py", "def f():\n from .. import clients", True),
        ("redis_emulator", "keyspace/a.py", "if TYPE_CHECKING:\n from .. import server", True),
        ("redis_emulator", "scripting/a.py", "from redis_emulator.commands import set", True),
        ("redis_emulator", "values/hash.py", "from . import sorted", False),
        (
            "redis_emulator",
            "commands/hash.py",
            "from redis_emulator.transports.sync import X",
            True,
        ),
        ("redis_emulator", "commands/hash.py", "from ..values.hash import Hash", False),
        ("redis_emulator", "engine.py", "from redis_emulator.commands import registry", False),
        ("pytest_podlink", "clock.py", "import podlink, redis_emulator", False),
    ],
)
def test_check_reports_a_forbidden_import(
    tmp_path: Path, package: str, path: str, source: str, found: bool
) -> None:
    module = tmp_path / package / path
    module.parent.mkdir(parents=True)
    module.write_text(source)
    faults = package_faults(tmp_path, package)
    faults += emulator_faults(tmp_path) + core_faults(tmp_path)
    assert bool(faults) is found


def test_check_reports_a_module_in_no_layer(tmp_path: Path) -> None:
    module = tmp_path / "redis_emulator" / "helpers.py"
    module.parent.mkdir()
    module.write_text("from redis_emulator import clock")
    with pytest.raises(KeyError, match=r"redis_emulator.helpers is in no layer"):
        emulator_faults(tmp_path)


@pytest.mark.parametrize(
    ("first", "second", "found"),
    [
        ("from redis_emulator import b", "from redis_emulator.a import A", True),
        ("if TYPE_CHECKING:\n from .b import B", "from .a import A", True),
        ("def f():\n from .b import B", "from .a import A", True),
        ("from .b import B", "import json", False),
    ],
)
def test_check_reports_an_import_circle(
    tmp_path: Path, first: str, second: str, found: bool
) -> None:
    package = tmp_path / "redis_emulator"
    package.mkdir()
    (package / "a.py").write_text(first)
    (package / "b.py").write_text(second)
    circle = [["redis_emulator.a", "redis_emulator.b"]]
    assert circles(tmp_path, "redis_emulator") == (circle if found else [])


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("server.call = self.run", True),
        ("server.call = lambda: None", True),
        ("server.call = helper", True),
        ("server.call = partial(helper, 1)", True),
        ("setattr(server, 'call', helper)", True),
        ("server.on_restart.append(self.run)", True),
        ("self.call = helper", False),
        ("server.value = self.value", False),
        ("server.names.append(name)", False),
    ],
)
def test_check_reports_a_function_slot(tmp_path: Path, statement: str, found: bool) -> None:
    package = tmp_path / "redis_emulator"
    package.mkdir()
    (package / "a.py").write_text(
        f"def helper(): ...\n\n\nclass A:\n    def run(self, server, name):\n        {statement}"
    )
    assert bool(function_slots(tmp_path, "redis_emulator")) is found
