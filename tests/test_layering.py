"""Who may import whom: the layers of the design page, read off the source.

Only imports that run when a module is loaded count. What a function imports when it is called, and
what is there for type checkers, does not make one package need another.
"""

from __future__ import annotations

import ast
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

# From the top. A module may import its own layer and those below; one that is named nowhere fails.
EMULATOR_LAYERS = [
    {"", "__main__", "cli", "cluster_emulator", "emulator"},
    {"tools", "transports"},
    {"engine"},
    {"commands", "scripting"},
    {"cluster", "clients", "server", "keyspace", "table", "clock"},
    {"values", "resp", "rdb", "glob", "version"},
]
# What podlink's sans-IO core may not know.
PODLINK_CORE = {
    "keys",
    "models",
    "errors",
    "scripts",
    "operations",
    "calls",
    "drain",
    "repair",
    "cache",
    "routing",
}
PODLINK_SHELL = {"executor", "manager", "router", "tracking", "aio", "cli", "demo", "draining"}


class Imports(ast.NodeVisitor):
    """Collects the absolute names of what a module imports when it is loaded."""

    def __init__(self, module: str, *, package: bool) -> None:
        self.names: set[str] = set()
        self._package = module.split(".") if package else module.split(".")[:-1]

    def visit_Import(self, node: ast.Import) -> None:
        self.names.update(alias.name for alias in node.names)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        source = node.module or ""
        if node.level:
            above = self._package[: len(self._package) - node.level + 1]
            source = ".".join([*above, source] if source else above)
        self.names.update(f"{source}.{alias.name}" for alias in node.names)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """What a function imports is imported when it is called."""

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        """As for a plain function."""

    def visit_If(self, node: ast.If) -> None:
        if "TYPE_CHECKING" not in ast.unparse(node.test):
            for statement in node.body:
                self.visit(statement)
        for statement in node.orelse:
            self.visit(statement)


def imports_of(root: Path, package: str) -> Iterator[tuple[str, str]]:
    """Each (module, imported name) of the package under `root`, both absolute."""
    for path in sorted((root / package).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        module = ".".join(parts[:-1] if is_package else parts)
        imports = Imports(module, package=is_package)
        imports.visit(ast.parse(path.read_text(encoding="utf-8"), str(path)))
        for name in sorted(imports.names):
            yield module, name


def package_faults(root: Path, package: str) -> list[str]:
    """Imports of one of our packages that the package may not import."""
    return [
        f"{module} imports {name}"
        for module, name in imports_of(root, package)
        if name.split(".")[0] in MAY_IMPORT and name.split(".")[0] not in MAY_IMPORT[package]
    ]


def layer(name: str) -> int:
    """The layer of a name in `redis_emulator`, 0 being the top, where its `__init__` is.

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
    """Imports inside `redis_emulator` that run upwards."""
    return [
        f"{module} imports {name}"
        for module, name in imports_of(root, "redis_emulator")
        if name.split(".")[0] == "redis_emulator" and layer(name) < layer(module)
    ]


def core_faults(root: Path) -> list[str]:
    """Modules of podlink's core that import IO: its own shells, sockets, event loops, clients."""
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
    """Modules of `podlink.aio` that import the synchronous module they are the twin of, or another
    one that has a twin.
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


def test_an_import_of_a_sibling_is_found(tmp_path: Path) -> None:
    package = tmp_path / "podlink" / "aio"
    package.mkdir(parents=True)
    (package / "manager.py").write_text("from podlink.manager import RedisManager")
    assert sibling_faults(tmp_path) == ["podlink.aio.manager imports podlink.manager.RedisManager"]


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
        ("podlink", "keys.py", "if TYPE_CHECKING:\n import redis_emulator", False),
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
def test_a_planted_import_is_found(
    tmp_path: Path, package: str, path: str, source: str, found: bool
) -> None:
    module = tmp_path / package / path
    module.parent.mkdir(parents=True)
    module.write_text(source)
    faults = package_faults(tmp_path, package)
    faults += emulator_faults(tmp_path) + core_faults(tmp_path)
    assert bool(faults) is found


def test_a_module_in_no_layer_is_found(tmp_path: Path) -> None:
    module = tmp_path / "redis_emulator" / "helpers.py"
    module.parent.mkdir()
    module.write_text("from redis_emulator import clock")
    with pytest.raises(KeyError, match=r"redis_emulator.helpers is in no layer"):
        emulator_faults(tmp_path)
