"""Keys and limits: which arguments are accepted and rejected, and that no two links share a key."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podlink import InternalError, InvalidParameterError, keys

names = st.text(
    st.characters(exclude_characters=":{}@", exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp")),
    min_size=1,
    max_size=20,
)
uids = st.text(
    st.characters(exclude_characters="{}", exclude_categories=("Cs", "Cc")), min_size=1, max_size=40
)


def test_keys_have_the_documented_format() -> None:
    assert keys.link_keys("shop", "u:1", "cart") == (
        b"sf:{shop:lk:u:1}cart",
        b"sf:{shop:lk:u:1}",
        b"sf:{shop:lk:u:1}cart@",
    )
    assert keys.index_key("shop", "u:1") == b"sf:{shop:lk:u:1}"
    assert keys.state_key("shop", "cart") == b"sf:{shop:state:cart}"
    assert keys.workload_key("shop", "cart") == b"sf:{shop:workload:cart}"
    assert keys.times_key(b"sf:{shop:state:cart}") == b"sf:{shop:state:cart}@"


def all_keys(namespace: str, uid: str, service: str) -> list[bytes]:
    singles = [keys.state_key(namespace, service), keys.workload_key(namespace, service)]
    return [
        *keys.link_keys(namespace, uid, service),
        *singles,
        *(keys.times_key(key) for key in singles),
    ]


@given(names, uids, names, names, uids, names)
def test_keys_of_different_links_and_states_differ(
    namespace: str, uid: str, service: str, namespace2: str, uid2: str, service2: str
) -> None:
    """Only the index of a uid is shared, by the services of the uid."""
    mine, theirs = all_keys(namespace, uid, service), all_keys(namespace2, uid2, service2)
    assert len(set(mine)) == len(mine)
    for i, one in enumerate(mine):
        for j, other in enumerate(theirs):
            same_uid = (namespace, uid) == (namespace2, uid2)
            same_service = (namespace, service) == (namespace2, service2)
            same_thing = {0: same_uid and same_service, 1: same_uid, 2: same_uid and same_service}
            assert (one == other) == (i == j and same_thing.get(i, same_service))


@given(names, uids, names)
def test_keys_of_a_uid_have_one_hash_tag(namespace: str, uid: str, service: str) -> None:
    tags = {
        key[key.index(b"{") : key.index(b"}")] for key in keys.link_keys(namespace, uid, service)
    }
    assert tags == {f"{{{namespace}:lk:{uid}".encode()}


BAD_NAMES: list[Any] = [
    "", "a b", "a\tb", "a\u00a0b", "a\u2028b", "a:b", "{a", "a}", "a@b", "\x00", "\x7f", "\x85",
    "x" * 254, "\ud800", b"a", None, 1, True, ["a"],
]  # fmt: skip


@pytest.mark.parametrize("value", BAD_NAMES, ids=repr)
def test_invalid_name_is_rejected(value: Any) -> None:
    with pytest.raises(InvalidParameterError, match="INVALID_PARAMETER: service_name must be"):
        keys.check_name("service_name", value)


@pytest.mark.parametrize("value", ["a", "x" * 253, "é", "a-b_c.d/e", "🙂", "\u200b"])
def test_valid_name_is_accepted(value: str) -> None:
    keys.check_name("namespace", value)


BAD_UIDS: list[Any] = [
    "", "a\nb", "\x00", "\x9f", "{", "}", "x" * 513, "é" * 257, "\ud800", b"a", None, 7,
]  # fmt: skip


@pytest.mark.parametrize("value", BAD_UIDS, ids=repr)
def test_invalid_uid_is_rejected(value: Any) -> None:
    with pytest.raises(InvalidParameterError, match="uid must be"):
        keys.check_uid(value)


@pytest.mark.parametrize("value", ["a", " ", "a b", "a:b@c", "x" * 512, "é" * 256, "🙂" * 128])
def test_valid_uid_is_accepted(value: str) -> None:
    keys.check_uid(value)


@given(st.one_of(st.integers(max_value=-1), st.integers(min_value=2**31)))
def test_pod_id_outside_the_limits_is_rejected(value: int) -> None:
    with pytest.raises(
        InvalidParameterError, match="pod_id must be an integer from 0 to 2147483647"
    ):
        keys.check_pod_id(value)


@pytest.mark.parametrize("value", [True, False, "1", 1.0, None, b"1"])
def test_pod_id_that_is_not_an_integer_is_rejected(value: Any) -> None:
    with pytest.raises(InvalidParameterError):
        keys.check_pod_id(value)


@given(st.integers(0, 2**31 - 1))
def test_stored_pod_id_is_read_back(value: int) -> None:
    assert keys.read_pod_id(str(keys.check_pod_id(value)).encode(), b"k") == value


def is_canonical(value: Any) -> bool:
    """Return whether these bytes are a pod id as `str` writes it."""
    if not isinstance(value, bytes) or not value.isdigit():
        return False
    return str(int(value)).encode() == value and int(value) < 2**31


stored: st.SearchStrategy[Any] = st.one_of(
    st.binary(max_size=12),
    st.sampled_from([b"", b"-1", b"+1", b"01", b"1.0", b" 1", b"1\n", b"2147483648", b"1e3"]),
    st.sampled_from(["1", 1.0, True, None, -1, 2**31, [b"1"]]),
)


@given(stored.filter(lambda value: not is_canonical(value)))
def test_malformed_stored_pod_id_is_an_error_that_names_the_key(value: Any) -> None:
    with pytest.raises(InternalError, match=r"sf:\{n:lk:u\}s holds"):
        keys.read_pod_id(value, b"sf:{n:lk:u}s")


@pytest.mark.parametrize("value", [-1, 1, 60, 2**31 - 1])
def test_valid_persist_seconds_are_accepted(value: int) -> None:
    assert keys.check_persist_seconds(value) == value


@pytest.mark.parametrize("value", [0, -2, 2**31, True, False, 1.0, "1", None])
def test_invalid_persist_seconds_are_rejected(value: Any) -> None:
    with pytest.raises(InvalidParameterError, match="persist_seconds must be"):
        keys.check_persist_seconds(value)


@pytest.mark.parametrize("value", ["", " ", "\n\t", "\u3000", None, b"UP", 1, "\ud800"])
def test_invalid_state_is_rejected(value: Any) -> None:
    with pytest.raises(InvalidParameterError, match="state must be a non-blank string"):
        keys.check_state(value)


def test_duplicate_names_are_dropped_in_order() -> None:
    assert keys.check_names("uids", (uid for uid in ["b", "a", "b"])) == ["b", "a"]


@pytest.mark.parametrize("value", ["abc", b"abc", None, 5, [1], [["a"]], [None]])
def test_invalid_list_of_names_is_rejected(value: Any) -> None:
    with pytest.raises(InvalidParameterError, match="uids must be a list of strings"):
        keys.check_names("uids", value)


def test_long_value_is_truncated_in_the_error() -> None:
    with pytest.raises(InvalidParameterError) as caught:
        keys.check_uid("x" * 5000)
    assert len(str(caught.value)) < 300


def test_keys_of_many_links() -> None:
    uids = ["a", "x" * 512, "é" * 129]
    assert keys.link_keys_of_many("n", uids, "s") == [keys.link_keys("n", u, "s")[0] for u in uids]
    assert keys.link_prefix("n") == b"sf:{n:lk:"


BUILDERS: list[tuple[Any, tuple[str, ...], tuple[str, ...]]] = [
    (keys.link_keys, ("namespace", "uid", "service_name"), ("n", "u", "s")),
    (keys.index_key, ("namespace", "uid"), ("n", "u")),
    (keys.state_key, ("namespace", "service_name"), ("n", "s")),
    (keys.workload_key, ("namespace", "service_name"), ("n", "s")),
    (keys.link_prefix, ("namespace",), ("n",)),
]


@pytest.mark.parametrize(
    ("build", "names", "good"), BUILDERS, ids=[each[0].__name__ for each in BUILDERS]
)
def test_every_part_of_a_key_is_checked(
    build: Any, names: tuple[str, ...], good: tuple[str, ...]
) -> None:
    for place, name in enumerate(names):
        bad = [*good]
        bad[place] = "{"
        with pytest.raises(InvalidParameterError, match=f"^INVALID_PARAMETER: {name} must be "):
            build(*bad)


@pytest.mark.parametrize(("args", "name"), [
    (("{", ["u"], "s"), "namespace"), (("n", ["u"], "{"), "service_name"),
    (("n", ["u", "{"], "s"), "uid"), (("n", ["é" * 257], "s"), "uid"), (("n", [""], "s"), "uid"),
])  # fmt: skip
def test_every_part_of_the_keys_of_many_links_is_checked(args: Any, name: str) -> None:
    with pytest.raises(InvalidParameterError, match=f"^INVALID_PARAMETER: {name} must be "):
        keys.link_keys_of_many(*args)


@pytest.mark.parametrize("value", [1, 2**31 - 1])
def test_good_seconds(value: int) -> None:
    assert keys.check_seconds(value) == value


@pytest.mark.parametrize("value", [-1, 0, 2**31, True, 1.5, "1", None])
def test_bad_seconds(value: Any) -> None:
    with pytest.raises(InvalidParameterError, match="persist_seconds must be") as caught:
        keys.check_seconds(value)
    assert str(caught.value).endswith(f"got {value!r}")


@pytest.mark.parametrize("value", [1, 0.001, 2**31 - 1])
def test_good_timeout(value: float) -> None:
    assert keys.check_timeout(value) == value


@pytest.mark.parametrize("value", [0, -1, 2**31, True, "1", None, float("nan"), float("inf")])
def test_bad_timeout(value: Any) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        keys.check_timeout(value)
    expected = f"timeout must be a number of seconds above 0; got {value!r}"
    assert caught.value.message == expected


class Number(int):
    """As an integer of numpy or an ``IntEnum`` may be."""


def test_integers_of_other_classes_become_plain() -> None:
    for checked in (keys.check_pod_id, keys.check_persist_seconds, keys.check_seconds):
        assert type(checked(Number(7))) is int


@pytest.mark.parametrize(("value", "text"), [
    ("x" * 78, repr("x" * 78)), ("x" * 79, "'" + "x" * 76 + "..."), (None, "None"),
])  # fmt: skip
def test_shown(value: Any, text: str) -> None:
    assert keys.shown(value) == text
    assert len(text) <= 80


@pytest.mark.parametrize("value", [0, 2**31 - 1, b"0", b"2147483647"])
def test_good_stored_pod_id(value: Any) -> None:
    assert keys.read_pod_id(value, b"k") == int(value)


@pytest.mark.parametrize(
    "value", [-1, 2**31, b"2147483648", b"9" * 10, b"01", b"", b"x", "1", True, None]
)
def test_bad_stored_pod_id(value: Any) -> None:
    with pytest.raises(InternalError) as caught:
        keys.read_pod_id(value, b"k\xff")
    assert caught.value.message == rf"k\xff holds {value!r}, which is not a decimal pod id"


def test_good_stored_text() -> None:
    assert keys.read_text("é ".encode(), b"k") == "é "


@pytest.mark.parametrize("value", [b"", b" \n", b"\xff", "text", None, 1])
def test_bad_stored_text(value: Any) -> None:
    with pytest.raises(InternalError) as caught:
        keys.read_text(value, b"k\xff")
    assert caught.value.message == rf"k\xff holds {value!r}, which is not a non-blank string"


def test_messages_show_what_was_given() -> None:
    checks: list[tuple[Any, str]] = [
        (lambda: keys.check_name("namespace", ""), "namespace must be"),
        (lambda: keys.check_uid(""), "uid must be"),
        (lambda: keys.check_pod_id(""), "pod_id must be"),  # type: ignore[arg-type]
        (lambda: keys.check_persist_seconds(""), "persist_seconds must be"),  # type: ignore[arg-type]
        (lambda: keys.check_state(""), "state must be"),
        (lambda: keys.check_names("uids", ""), "uids must be"),
    ]
    for check, message in checks:
        with pytest.raises(InvalidParameterError) as caught:
            check()
        assert caught.value.message.startswith(message)
        assert caught.value.message.endswith("got ''")
    with pytest.raises(InvalidParameterError, match=r"strings; it has 7$"):
        keys.check_names("uids", ["a", 7])  # type: ignore[list-item]
