"""The partial quicksort of Redis (``pqsort.c``), for SORT with BY and LIMIT, and for GEOSEARCH.

It only sorts the partitions that overlap the requested range, and it is not stable. Which of
several equal elements a client gets therefore depends on each step, so the steps are the same as in
Redis. They follow Bentley and McIlroy, "Engineering a Sort Function" (1993): insertion sort below
seven elements, the median of three or nine as pivot, and elements equal to the pivot collected at
both ends of the partition.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
Compare = Callable[[T, T], int]

_INSERTION_SORT_BELOW = 7
_MEDIAN_OF_NINE_ABOVE = 40


def sort_range(items: list[T], compare: Compare[T], first: int, last: int) -> None:
    """Sort so far that ``items[first : last + 1]`` is the same as in the fully sorted list.

    Args:
        items: The list, changed in place.
        compare: Returns a negative number, zero or a positive number if its first argument is
            less than, equal to or greater than the second.
        first: The first index of the range.
        last: The last index of the range.
    """
    parts = [(0, len(items))]
    while parts:
        start, stop = parts.pop()
        if stop - start < _INSERTION_SORT_BELOW:
            _insertion_sort(items, compare, start, stop)
            continue
        lower, upper = _partition(items, compare, start, stop)
        for begin, end in ((upper, stop), (start, lower)):
            if end - begin > 1 and first < end and last >= begin:
                parts.append((begin, end))


def _insertion_sort(items: list[T], compare: Compare[T], start: int, stop: int) -> None:
    for index in range(start + 1, stop):
        while index > start and compare(items[index - 1], items[index]) > 0:
            items[index - 1], items[index] = items[index], items[index - 1]
            index -= 1


def _partition(items: list[T], compare: Compare[T], start: int, stop: int) -> tuple[int, int]:
    """Partition into elements less than, equal to and greater than a pivot.

    Returns:
        The start and the end of the elements equal to the pivot.
    """
    pivot = _choose_pivot(items, compare, start, stop)
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
    """Swap the ``count`` elements from ``first`` on with the ``count`` elements before ``end``."""
    for step in range(count):
        one, other = first + step, end - count + step
        items[one], items[other] = items[other], items[one]


def _choose_pivot(items: list[T], compare: Compare[T], start: int, stop: int) -> int:
    count = stop - start
    middle = start + count // 2
    if count == _INSERTION_SORT_BELOW:
        return middle
    low, high = start, stop - 1
    if count > _MEDIAN_OF_NINE_ABOVE:
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
