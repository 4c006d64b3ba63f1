"""Runs functions in a forked child process."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Callable
from typing import Any

import pytest

ALARM = 60
"""Seconds after which a child counts as hanging."""

NEEDS_FORK = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
    # Python 3.12 warns about a fork while other threads run. The tests do that on purpose.
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]


def in_child(function: Callable[[], Any]) -> Any:
    """Run a function in a child process and return its result, or the `repr` of the exception it
    raised.

    A child that hangs is killed by an alarm, and the test fails.
    """
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(ALARM)
        try:
            try:
                answer = function()
            except BaseException as error:
                answer = repr(error)
            os.write(theirs, pickle.dumps(answer))
        finally:
            os._exit(0)
    os.close(theirs)
    with open(ours, "rb") as reader:
        sent = reader.read()
    os.waitpid(child, 0)
    assert sent, "the child hung"
    return pickle.loads(sent)
