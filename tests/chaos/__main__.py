"""`make chaos`: run chaos tests on each topology and print what failed; exit with 1 if anything
did.
"""

from __future__ import annotations

import argparse
import logging
import secrets
import sys

from tests.chaos.report import run
from tests.chaos.schedule import TOPOLOGIES


def main() -> int:
    """Parse the options, run, and print the reports."""
    options = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    options.add_argument("--seconds", type=float, default=10.0, help="for each topology")
    options.add_argument("--seed", type=int, default=None, help="repeats a schedule of faults")
    options.add_argument("--topology", choices=TOPOLOGIES, action="append")
    given = options.parse_args()
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    logging.getLogger("podlink").addHandler(logging.NullHandler())
    logging.getLogger("podlink").propagate = False
    good = True
    for topology in given.topology or TOPOLOGIES:
        report = run(topology, seed, given.seconds)
        print(report, flush=True)
        good = good and report.good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
