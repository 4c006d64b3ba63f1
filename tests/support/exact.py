"""Times and values for tests that compare stored values to the byte and to the millisecond."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

NOW = 1_700_000_000_999
"""`CLOCK` in milliseconds, rounded down."""
CLOCK = datetime.fromtimestamp(1_700_000_000, timezone.utc) + timedelta(microseconds=999_998)
YEAR = 31_536_000_000

NO_POD_IDS = [
    "", " ", "x", "00", "01", "-0", "-1", "+1", "1.0", "1e3", "0x1", " 1", "1 ", "1\n", "1x", "x1",
    "2147483648", "2147483650", "3000000000", "9999999999", "10000000000", "21474836470", "nan",
    "4294967297",
]  # fmt: skip
POD_IDS = [0, 1, 9, 10, 99, 999_999_999, 1_000_000_000, 2_147_483_640, 2_147_483_646, 2_147_483_647]
