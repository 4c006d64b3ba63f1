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
