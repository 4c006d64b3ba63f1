"""The Lua scripts of ``lua/`` with their names and SHA1s, read at import. Sends nothing.

Each file begins with a comment that describes its keys, arguments and reply, and the transitions it
implements. All keys are in ``KEYS``, so that a cluster can route a script, and ACL key permissions
are checked before it starts. ``docs/production.md`` lists the commands that the ACL must allow.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path
from typing import Final, NamedTuple

from podlink.errors import InvalidParameterError, NotFoundError


class Script(NamedTuple):
    """A Lua script with its name, source and SHA1."""

    name: str
    source: str
    sha: str

    @classmethod
    def of(cls, name: str, source: str) -> Script:
        """Create a script with its SHA1, the same that ``SCRIPT LOAD`` returns."""
        return cls(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


def _read_all() -> dict[str, Script]:
    # The wheel has the scripts inside the package; a checkout has them in the top folder.
    folder = files("podlink") / "lua"
    if not folder.is_dir():
        folder = Path(__file__).resolve().parents[2] / "lua"
    found = (entry for entry in folder.iterdir() if entry.name.endswith(".lua"))
    return {
        entry.name[:-4]: Script.of(entry.name[:-4], entry.read_text(encoding="utf-8"))
        for entry in sorted(found, key=lambda entry: entry.name)
    }


SCRIPTS: Final[dict[str, Script]] = _read_all()
"""All scripts by name."""

GET_EACH: Final = SCRIPTS["get_each"]
GET_LINKED_POD_IF_PERSIST: Final = SCRIPTS["get_linked_pod_if_persist"]
INSPECT: Final = SCRIPTS["inspect"]
READ_POD_LINK: Final = SCRIPTS["read_pod_link"]
READ_SERVICE_STATE: Final = SCRIPTS["read_service_state"]
REFRESH_LINKED_POD: Final = SCRIPTS["refresh_linked_pod"]
REMOVE_LINKED_POD: Final = SCRIPTS["remove_linked_pod"]
REMOVE_LINKED_POD_WITH_ID: Final = SCRIPTS["remove_linked_pod_with_id"]
REPAIR_LINK: Final = SCRIPTS["repair_link"]
REPAIR_SERVICE_STATE: Final = SCRIPTS["repair_service_state"]
REPAIR_WORKLOAD_STATE: Final = SCRIPTS["repair_workload_state"]
REPLACE_LINKED_POD: Final = SCRIPTS["replace_linked_pod"]
SET_LINKED_POD: Final = SCRIPTS["set_linked_pod"]
SET_LINKED_POD_IF_ABSENT: Final = SCRIPTS["set_linked_pod_if_absent"]
SET_SERVICE_STATE: Final = SCRIPTS["set_service_state"]
SET_WORKLOAD_STATE: Final = SCRIPTS["set_workload_state"]
TRY_SET_LINKED_POD: Final = SCRIPTS["try_set_linked_pod"]


class ScriptRegistry:
    """Scripts by name: those of podlink, and those that a user adds."""

    def __init__(self) -> None:
        self._scripts = dict(SCRIPTS)

    def get(self, name: str) -> Script:
        """Return the script with a name.

        Raises:
            NotFoundError: there is none.
        """
        try:
            return self._scripts[name]
        except (KeyError, TypeError):
            raise NotFoundError(
                f"there is no script {name!r}; the scripts are: {', '.join(sorted(self._scripts))}"
            ) from None

    def add(self, name: str, source: str) -> Script:
        """Add a script, or replace one that a user added under the same name.

        Raises:
            InvalidParameterError: podlink has another script of that name, or name or source is not
                a non-blank string.
        """
        for what, value in (("the name of a script", name), ("the source of a script", source)):
            if not isinstance(value, str) or not value.strip():
                raise InvalidParameterError(f"{what} must be a non-blank string")
        if name in SCRIPTS and source != SCRIPTS[name].source:
            raise InvalidParameterError(f"{name!r} is a script of podlink: choose another name")
        script = self._scripts[name] = Script.of(name, source)
        return script

    def all(self) -> list[Script]:
        """Return all scripts, sorted by name."""
        return [self._scripts[name] for name in sorted(self._scripts)]
