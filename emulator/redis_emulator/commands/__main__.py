"""Print the docs page that lists all commands.

Run ``python -m redis_emulator.commands > docs/commands.md``.
"""

from __future__ import annotations

import sys

from redis_emulator.commands.registry import emulated
from redis_emulator.table.catalogue import page

if __name__ == "__main__":
    sys.stdout.write(page(emulated()))
