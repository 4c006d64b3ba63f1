"""``python -m redis_emulator``: the same as ``redis-emulator``."""

from __future__ import annotations

import sys

from redis_emulator.cli import main

sys.exit(main())
