"""The state machine: random histories that run on the model and on every store.

A history uses a few names that are easily confused. It creates, moves and removes links, moves the
time, writes well-formed and malformed values as other programs, evicts keys, flushes scripts, and
passes invalid arguments. Each step runs on all stores before the next one; `store` then compares
their results and keys with those of `model`.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pytest_podlink.conformance import strategies, values
from pytest_podlink.conformance.model import Model
from pytest_podlink.conformance.store import Difference, Outcome, Store, Undecided
from pytest_podlink.conformance.strategies import (
    Executor,
    Link,
    Names,
    executors,
    finite_seconds,
    persistence,
    pods,
    seconds,
    states,
)
from pytest_podlink.conformance.values import Refused

EXPIRY_MARGIN = 400
"""Minimum milliseconds between the time after `advance` and the expiry of any key: the clocks of
real servers keep running, and differ."""


def run(stores: Sequence[Store], examples: int, **options: Any) -> None:
    """Run that many histories of up to 50 steps. `options` are more settings of hypothesis.

    Raises:
        Difference: a store differs from the model. hypothesis prints the shortest history that
            shows it.
        Undecided: more than half of the histories could not be compared to their end.
    """
    logger = logging.getLogger("podlink")
    silenced, logger.disabled = logger.disabled, True
    chosen = settings(max_examples=examples, stateful_step_count=50, deadline=None, **options)
    counts = Counter[str]()
    try:
        run_state_machine_as_test(partial(Histories, stores, counts), settings=chosen)  # type: ignore[arg-type]
    finally:
        logger.disabled = silenced
    if counts["undecided"] * 2 > counts["begun"]:
        raise Undecided(
            f"{counts['undecided']} of {counts['begun']} histories were compared only in part, "
            "because keys expired while a server was slow: use a faster or less busy server"
        )


def draw_from(choices: str) -> st.SearchStrategy[Any]:
    """Draws from an attribute of the running machine: `links`, `places` or `owners`."""
    return st.runner().flatmap(lambda machine: getattr(machine, choices))


links, places, owners = draw_from("links"), draw_from("places"), draw_from("owners")
pods_or_linked = st.none() | pods
"""A pod, or None for the pod that the uid is linked to."""
some_uids = st.runner().flatmap(
    lambda m: st.permutations(m.names.uids) | st.lists(st.sampled_from(m.names.uids), max_size=5)
)
some_services = st.runner().flatmap(
    lambda m: st.lists(st.sampled_from(m.names.services), max_size=4)
)


class Histories(RuleBasedStateMachine):
    """The rules of a history."""

    def __init__(self, stores: Sequence[Store], counts: Counter[str]) -> None:
        super().__init__()
        self.stores = stores
        self.counts = counts
        self.counts["begun"] += 1
        self.undecided = False
        self.model = Model()
        for store in stores:
            store.empty()

    @initialize(names=strategies.names, executor=executors)
    def choose_names(self, names: Names, executor: Executor) -> None:
        self.names, self.executor = names, executor
        self.links, self.places, self.owners = names.links(), names.places(), names.owners()

    @rule(executor=executors)
    def go_on_with_executor(self, executor: Executor) -> None:
        self.executor = executor

    # Service and workload states

    @rule(place=places, pod=pods, state=states)
    def set_service_state(self, place: tuple[str, str], pod: int, state: str) -> None:
        self.operate("set_service_state", *place, pod, state)

    @rule(operation=st.sampled_from(strategies.READING_STATES), place=places)
    def read_states(self, operation: str, place: tuple[str, str]) -> None:
        self.operate(operation, *place)

    @rule(place=places, state=states)
    def set_workload_state(self, place: tuple[str, str], state: str) -> None:
        self.operate("set_workload_state", *place, state)

    @rule(place=places, services=some_services)
    def get_workload_state(self, place: tuple[str, str], services: list[str]) -> None:
        self.operate("get_workload_state", place[0], services)

    @rule(place=places)
    def read_workload_state(self, place: tuple[str, str]) -> None:
        self.operate("read_workload_state", *place)

    # Creating and changing links

    @rule(link=links, pod=pods_or_linked, persist=persistence)
    def set_linked_pod(self, link: Link, pod: int | None, persist: dict[str, int]) -> None:
        self.operate("set_linked_pod", *link, self.pod_of(link, pod), **persist)

    @rule(link=links, pod=pods_or_linked, persist=persistence)
    def try_set_linked_pod(self, link: Link, pod: int | None, persist: dict[str, int]) -> None:
        self.operate("try_set_linked_pod", *link, self.pod_of(link, pod), **persist)

    @rule(link=links, pod=pods_or_linked, persist=persistence)
    def set_linked_pod_if_absent(
        self, link: Link, pod: int | None, persist: dict[str, int]
    ) -> None:
        self.operate("set_linked_pod_if_absent", *link, self.pod_of(link, pod), **persist)

    @rule(link=links, pod=pods_or_linked, persist=persistence)
    def create_linked_pod(self, link: Link, pod: int | None, persist: dict[str, int]) -> None:
        self.operate("create_linked_pod", *link, self.pod_of(link, pod), **persist)

    @rule(link=links, expected=pods_or_linked, pod=pods_or_linked, persist=persistence)
    def replace_linked_pod(
        self, link: Link, expected: int | None, pod: int | None, persist: dict[str, int]
    ) -> None:
        self.operate(
            "replace_linked_pod",
            *link,
            self.pod_of(link, expected),
            self.pod_of(link, pod),
            **persist,
        )

    @rule(link=links, pod=pods_or_linked, seconds=finite_seconds)
    def refresh_linked_pod(self, link: Link, pod: int | None, seconds: int) -> None:
        self.operate("refresh_linked_pod", *link, self.pod_of(link, pod), seconds)

    @rule(place=places, uids=some_uids, pod=pods, persist=persistence)
    def batch_set_linked_pod_if_absent(
        self, place: tuple[str, str], uids: list[str], pod: int, persist: dict[str, int]
    ) -> None:
        namespace, service = place
        self.operate("batch_set_linked_pod_if_absent", namespace, uids, service, pod, **persist)

    # Reading links

    @rule(operation=st.sampled_from(strategies.READING), link=links)
    def read_a_link(self, operation: str, link: Link) -> None:
        self.operate(operation, *link)

    @rule(place=places, uids=some_uids)
    def batch_get_linked_pod(self, place: tuple[str, str], uids: list[str]) -> None:
        namespace, service = place
        self.operate("batch_get_linked_pod", namespace, uids, service)

    @rule(owner=owners)
    def get_link_service(self, owner: tuple[str, str]) -> None:
        self.operate("get_link_service", *owner)

    # Removing links

    @rule(link=links, persist=persistence)
    def remove_linked_pod(self, link: Link, persist: dict[str, int]) -> None:
        self.operate("remove_linked_pod", *link, **persist)

    @rule(link=links, pod=pods_or_linked, persist=persistence)
    def remove_linked_pod_with_id(
        self, link: Link, pod: int | None, persist: dict[str, int]
    ) -> None:
        self.operate("remove_linked_pod_with_id", *link, self.pod_of(link, pod), **persist)

    @rule(place=places, uids=some_uids, persist=persistence)
    def batch_remove_linked_pod(
        self, place: tuple[str, str], uids: list[str], persist: dict[str, int]
    ) -> None:
        namespace, service = place
        self.operate("batch_remove_linked_pod", namespace, uids, service, **persist)

    @rule(place=places, pod=pods, to=st.none() | pods)
    def drain_pod(self, place: tuple[str, str], pod: int, to: int | None) -> None:
        self.operate("drain_pod", *place, pod, to)

    # Inspection and repair

    @rule(link=links)
    def inspect_link(self, link: Link) -> None:
        self.operate("inspect_link", *link)

    @rule(place=places)
    def inspect_service(self, place: tuple[str, str]) -> None:
        self.operate("inspect_service", *place)

    @rule(link=links, dry_run=st.booleans())
    def repair_link(self, link: Link, dry_run: bool) -> None:
        self.operate("repair_link", *link, dry_run=dry_run)

    @rule(operation=st.sampled_from(strategies.REPAIRING), place=places, dry_run=st.booleans())
    def repair_states(self, operation: str, place: tuple[str, str], dry_run: bool) -> None:
        self.operate(operation, *place, dry_run=dry_run)

    # Invalid arguments

    @rule(calls=st.lists(strategies.bad_calls(), min_size=1, max_size=4))
    def give_bad_arguments(self, calls: list[tuple[str, dict[str, Any]]]) -> None:
        for operation, arguments in calls:
            self.operate(operation, **arguments)

    # Time

    @rule(milliseconds=st.sampled_from([500, 1_500, 30_000, 61_000, 90_000_000]))
    def time_passes(self, milliseconds: int) -> None:
        self.advance(milliseconds)

    @precondition(lambda self: self.model.remaining())
    @rule(past=st.booleans())
    def the_next_key_expires(self, past: bool) -> None:
        soonest = self.model.remaining()[0]
        self.advance(soonest + EXPIRY_MARGIN if past else max(soonest - EXPIRY_MARGIN, 0))

    # Other programs and the server

    @rule(link=links, pod=pods, ttl=seconds)
    def another_program_links(self, link: Link, pod: int, ttl: int) -> None:
        at, value = values.place(*link), b"%d" % pod
        if self.absent_or(at.index_key, "hash"):
            index = ("HSET", at.service, value) if ttl == -1 else ("HDEL", at.service)
            expire = [] if ttl == -1 else [("EXPIRE", at.link, ttl)]
            self.write(("SET", at.link, value), (index[0], at.index_key, *index[1:]), *expire)

    @rule(link=links)
    def another_program_unlinks(self, link: Link) -> None:
        at = values.place(*link)
        if self.absent_or(at.index_key, "hash"):
            self.write(("DEL", at.link), ("HDEL", at.index_key, at.service))

    @rule(place=places, pod=pods, state=states)
    def another_program_sets_states(self, place: tuple[str, str], pod: int, state: str) -> None:
        key = values.state_key(*place)
        if self.absent_or(key, "hash"):
            self.write(("HSET", key, b"%d" % pod, state.encode()))
        self.write(("SET", values.workload_key(*place), state.encode()))

    @rule(place=places, pod=pods, whole=st.booleans(), then=st.none() | pods)
    def another_program_deletes_states(
        self, place: tuple[str, str], pod: int, whole: bool, then: int | None
    ) -> None:
        key = values.state_key(*place)
        if not whole and self.absent_or(key, "hash"):
            self.write(("HDEL", key, b"%d" % pod))
        elif whole:
            self.write(("DEL", key))
            self.write(("DEL", values.workload_key(*place)))
        if then is not None:
            self.operate("set_service_state", *place, then, "up")

    @rule(link=links, ttl=seconds)
    def another_program_changes_a_ttl(self, link: Link, ttl: int) -> None:
        key = values.place(*link).link
        self.write(("PERSIST", key) if ttl == -1 else ("EXPIRE", key, ttl))

    @rule(
        link_and_call=links.flatmap(
            lambda link: st.tuples(st.just(link), strategies.calls_on(link))
        ),
        which=st.sampled_from([0, 0, 1, 2]),
    )
    def a_key_is_evicted(
        self, link_and_call: tuple[Link, tuple[str, dict[str, Any]]], which: int
    ) -> None:
        link, (operation, arguments) = link_and_call
        self.write(("DEL", values.place(*link)[which]))
        self.operate(operation, **arguments)

    @rule(bad=links.flatmap(strategies.foreign_writes), stays=st.booleans())
    def operations_read_a_bad_value(
        self, bad: tuple[strategies.ForeignWrite, list[tuple[str, dict[str, Any]]]], stays: bool
    ) -> None:
        (key, value, ttl), calls = bad
        puts: list[tuple[Any, ...]] = [("SET", key, value)]
        if isinstance(value, dict):
            puts = [("HSET", key, *item) for item in value.items()]
        self.write(("DEL", key), *puts, *([] if ttl == -1 else [("EXPIRE", key, ttl)]))
        for operation, arguments in calls:
            self.operate(operation, **arguments)
        if not stays:
            self.write(("DEL", key))

    @rule()
    def the_script_cache_is_flushed(self) -> None:
        for store in self.stores:
            store.flush_scripts()

    # Running a step

    def operate(self, operation: str, *positional: Any, **named: Any) -> None:
        """Call an operation on the model and on every store."""
        names = strategies.OPERATIONS[operation]
        arguments = dict(zip(names, positional, strict=False)) | named
        self.model.track_link_times = self.executor.track_link_times
        outcomes: list[Outcome] = []

        def on_model() -> Any:
            try:
                return getattr(self.model, operation)(**arguments)
            except Refused as refused:
                return refused

        def on_store(store: Store) -> Outcome:
            outcomes.append(store.operate(self.executor, operation, arguments))
            return outcomes[-1]

        self.step(on_model, on_store)
        if (
            not self.undecided
            and len({outcome.error.code for outcome in outcomes if outcome.error}) > 1
        ):
            answers = zip(self.stores, outcomes, strict=True)
            raise Difference("; ".join(f"{store.name} {outcome}" for store, outcome in answers))

    def write(self, *commands: tuple[Any, ...]) -> None:
        """Run commands of another program on the model and on every store."""

        def on_model() -> None:
            for command in commands:
                self.model.write(*command)

        self.step(on_model, lambda store: store.write(commands))

    def advance(self, milliseconds: int) -> None:
        """Move the time of the model and of every store by at least `milliseconds`."""
        while any(abs(ttl - milliseconds) < EXPIRY_MARGIN for ttl in self.model.remaining()):
            milliseconds += EXPIRY_MARGIN // 4
        self.step(
            lambda: self.model.advance(milliseconds), lambda store: store.advance(milliseconds)
        )

    def step(
        self, on_model: Callable[[], Any], on_store: Callable[[Store], Outcome | None]
    ) -> None:
        """Run a step on the model and on every store, and compare.

        After an undecided step the history continues on the model only, so that the drawn values
        do not depend on the speed of a server.
        """
        self.model.step += 1
        if self.undecided:
            on_model()
            return
        for store in self.stores:
            store.restore_ttls(self.model)
        expected = on_model()
        for store in self.stores:
            outcome = on_store(store)
            try:
                store.compare(self.model, expected, outcome)
            except Undecided:
                self.undecided = True
                self.counts["undecided"] += 1
                return

    def pod_of(self, link: Link, pod: int | None) -> int:
        """The drawn pod; if it is None, that of the link, or 0 without a link."""
        if pod is not None:
            return pod
        try:
            return self.model.get_linked_pod(*link) or 0
        except Refused:
            return 0

    def absent_or(self, key: bytes, kind: str) -> bool:
        """Whether a key is absent or of this type."""
        return key not in self.model.keys or self.model.keys[key].type == kind
