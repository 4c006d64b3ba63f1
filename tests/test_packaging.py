"""Builds the wheel, installs it in a new environment, and uses it.

The environments see nothing of the repository. They are created anew and filled from the package
index.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.xdist_group("packaging")

LINK_USERS = """
from podlink import StatefulExecutor
executor = StatefulExecutor("emulator://")
assert executor.set_linked_pod("shop", "alice", "cart", 3) is None
assert executor.set_linked_pod("shop", "alice", "cart", 4, persist_seconds=60) == 3
assert executor.try_set_linked_pod("shop", "bob", "cart", 1) == (True, 1)
executor.set_service_state("shop", "cart", 4, "ready")
assert executor.get_linked_pod("shop", "alice", "cart") == 4
assert executor.batch_get_linked_pod("shop", ["alice", "bob"], "cart") == {4: ["alice"], 1: ["bob"]}
assert executor.get_link_service("shop", "bob") == {"cart": 1}
assert executor.get_service_state("shop", "cart") == {4: "ready"}
assert executor.remove_linked_pod("shop", "bob", "cart") is True
"""
USE_FIXTURES = """
def test_link(stateful_executor, stateful_clock):
    stateful_executor.set_linked_pod("shop", "alice", "cart", 3, persist_seconds=60)
    stateful_clock.advance(60.001)
    assert stateful_executor.get_linked_pod("shop", "alice", "cart") is None
"""


class Environment:
    """A virtual environment outside the repository."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        venv.create(folder, with_pip=True)

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of the environment's programs in the environment's folder, without our
        environment variables.
        """
        return subprocess.run(
            [self.folder / "bin" / program, *arguments],
            cwd=self.folder,
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "LANG": "C.UTF-8"},
            capture_output=True,
            text=True,
            timeout=240,
        )

    def install(self, requirement: str) -> None:
        done = self.run("pip", "install", "--disable-pip-version-check", requirement)
        assert done.returncode == 0, done.stdout + done.stderr

    def python(self, code: str) -> subprocess.CompletedProcess[str]:
        return self.run("python", "-c", code)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of a wheel that was built from the sdist, as for a release."""
    folder = tmp_path_factory.mktemp("dist")
    built = subprocess.run(
        [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    [wheel] = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def plain(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with `pip install podlink`."""
    environment = Environment(tmp_path_factory.mktemp("plain"))
    environment.install(str(wheel))
    return environment


@pytest.fixture(scope="module")
def with_pytest(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with `pip install podlink[pytest]`."""
    environment = Environment(tmp_path_factory.mktemp("pytest"))
    environment.install(f"{wheel}[pytest]")
    return environment


def test_wheel_contains_three_packages_and_the_scripts(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {
        "podlink",
        "redis_emulator",
        "pytest_podlink",
    }
    scripts = {path.name for path in (ROOT / "lua").glob("*.lua")}
    assert scripts
    shipped = {name for name in names if name.startswith("podlink/lua/")}
    assert {name.removeprefix("podlink/lua/") for name in shipped} == scripts
    for package in ("podlink", "redis_emulator", "pytest_podlink"):
        assert f"{package}/py.typed" in names
    emulator = ROOT / "emulator"
    data = {
        p.relative_to(emulator) for kind in ("json", "lua") for p in emulator.rglob(f"*.{kind}")
    }
    assert data <= {Path(name) for name in names}


def test_plain_install_has_redis_as_only_dependency(plain: Environment) -> None:
    listed = json.loads(plain.run("pip", "list", "--format=json").stdout)
    brought = {entry["name"].lower() for entry in listed} - {"pip", "setuptools", "podlink"}
    needed_by_redis = {"async-timeout", "typing-extensions", "typing_extensions", "pyjwt"}
    assert brought - needed_by_redis == {"redis"}
    requires = re.search("Requires: (.*)", plain.run("pip", "show", "podlink").stdout)
    assert requires
    assert requires[1] == "redis"


def test_plain_install_can_be_imported_and_contains_the_scripts(plain: Environment) -> None:
    done = plain.python(
        "import podlink, podlink.scripts; print(podlink.__file__, len(podlink.scripts.SCRIPTS))"
    )
    assert done.returncode == 0, done.stderr
    place, scripts = done.stdout.split()
    assert Path(place).is_relative_to(plain.folder)
    assert int(scripts) == len(list((ROOT / "lua").glob("*.lua")))


@pytest.mark.parametrize(
    ("program", "arguments", "extra"),
    [
        ("python", ("-c", "import podlink; podlink.StatefulExecutor('emulator://')"), "emulator"),
        ("podlink", ("demo",), "cli"),
    ],
)
def test_missing_extra_is_named_in_the_error(
    plain: Environment, program: str, arguments: tuple[str, ...], extra: str
) -> None:
    done = plain.run(program, *arguments)
    assert done.returncode != 0
    assert f"pip install 'podlink[{extra}]'" in done.stderr.strip().splitlines()[-1]


def test_installed_podlink_links_users_on_the_emulator(with_pytest: Environment) -> None:
    done = with_pytest.python(LINK_USERS)
    assert done.returncode == 0, done.stderr


def test_plugin_is_loaded_by_its_entry_point(with_pytest: Environment) -> None:
    (with_pytest.folder / "test_links.py").write_text(USE_FIXTURES)
    done = with_pytest.run("pytest", "-q", "test_links.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
