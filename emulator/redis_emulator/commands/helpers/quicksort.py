"""The quicksort that SORT uses when BY and LIMIT come together.

Only the parts that reach into the wanted range are sorted, and equal elements do not keep their
order, so which of them a client sees depends on every step. The steps are those of Bentley and
McIlroy's "Engineering a Sort Function" (1993): runs below seven by insertion, a median of three or
of nine as pivot, and elements equal to the pivot gathered at both ends of the partition.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
Compare = Callable[[T, T], int]

_SMALL = 7
_LARGE = 40


def sort_range(items: list[T], compare: Compare[T], first: int, last: int) -> None:
    """Bring ``items[first : last + 1]`` to be what they are in the sorted list.

    Args:
        items: The list, changed in place.
        compare: Negative, zero or positive, as its first argument comes before, beside or after
            the second.
        first: The first place that matters.
        last: The last place that matters.
    """
    parts = [(0, len(items))]
    while parts:
        start, stop = parts.pop()
        if stop - start < _SMALL:
            _insertion_sort(items, compare, start, stop)
            continue
        lower, upper = _partition(items, compare, start, stop)
        for begin, end in ((upper, stop), (start, lower)):
            if end - begin > 1 and first < end and last >= begin:
                parts.append((begin, end))


def _insertion_sort(items: list[T], compare: Compare[T], start: int, stop: int) -> None:
    for place in range(start + 1, stop):
        while place > start and compare(items[place - 1], items[place]) > 0:
            items[place - 1], items[place] = items[place], items[place - 1]
            place -= 1


def _partition(items: list[T], compare: Compare[T], start: int, stop: int) -> tuple[int, int]:
    """Divide into less than, equal to, and greater than a pivot; where the equal begin and end."""
    pivot = _pivot(items, compare, start, stop)
    items[start], items[pivot] = items[pivot], items[start]
    pivot_value = items[start]
    left = low = start + 1
    right = high = stop - 1
    while True:
        while low <= high and (order := compare(items[low], pivot_value)) <= 0:
            if not order:
                items[left], items[low] = items[low], items[left]
                left += 1
            low += 1
        while low <= high and (order := compare(items[high], pivot_value)) >= 0:
            if not order:
                items[high], items[right] = items[right], items[high]
                right -= 1
            high -= 1
        if low > high:
            break
        items[low], items[high] = items[high], items[low]
        low += 1
        high -= 1
    _swap_runs(items, start, low, min(left - start, low - left))
    _swap_runs(items, low, stop, min(right - high, stop - right - 1))
    return start + (low - left), stop - (right - high)


def _swap_runs(items: list[T], first: int, end: int, count: int) -> None:
    """Swap ``count`` elements from ``first`` on with as many up to ``end``."""
    for step in range(count):
        one, other = first + step, end - count + step
        items[one], items[other] = items[other], items[one]


def _pivot(items: list[T], compare: Compare[T], start: int, stop: int) -> int:
    count = stop - start
    middle = start + count // 2
    if count == _SMALL:
        return middle
    low, high = start, stop - 1
    if count > _LARGE:
        step = count // 8
        low = _median(items, compare, low, low + step, low + 2 * step)
        middle = _median(items, compare, middle - step, middle, middle + step)
        high = _median(items, compare, high - 2 * step, high - step, high)
    return _median(items, compare, low, middle, high)


def _median(items: list[T], compare: Compare[T], one: int, two: int, three: int) -> int:
    if compare(items[one], items[two]) < 0:
        if compare(items[two], items[three]) < 0:
            return two
        return three if compare(items[one], items[three]) < 0 else one
    if compare(items[two], items[three]) > 0:
        return two
    return one if compare(items[one], items[three]) < 0 else three
