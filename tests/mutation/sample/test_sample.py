from __future__ import annotations

from tests.mutation.sample.module import Account, count_down, within


def test_both_sides_of_the_limit() -> None:
    assert within(10)
    assert not within(11)


def test_account() -> None:
    log: list[str] = []
    account = Account()
    assert account.is_open
    account.close(log)
    assert log == ["closed"]


def test_count_down() -> None:
    assert count_down(3) == 0
