"""EVAL, EVALSHA and SCRIPT: replies of scripts, compared with real servers."""

from __future__ import annotations

from functools import partial

import pytest

from tests.emulator.scripting import cases, library_cases
from tests.support.pair import Pair, arguments, matches

EVERY = pytest.mark.servers("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")
MODERN = pytest.mark.servers("redis-8.2", "redis-7.0", "valkey-9.1")
CURRENT = pytest.mark.servers("redis-8.2", "valkey-9.1")


def compare(same: Pair, scripts: tuple[str, ...]) -> None:
    """Run every script on both; report all that differ."""
    for command in cases.FIXTURE:
        same(*command)
    differences = []
    for script in scripts:
        try:
            same("EVAL", script, "0")
        except AssertionError as error:
            differences.append(str(error))
    assert not differences, "\n".join(differences)


@EVERY
@pytest.mark.parametrize(
    "theme",
    [
        "COMPILING",
        "GLOBALS",
        "CALLS",
        "NUMBERS",
        "ERRORS",
        "API",
        "RESULTS",
        "SHEBANG",
        "RANDOM",
        "STANDARD",
    ],
)
def test_replies_of_scripts(same: Pair, theme: str) -> None:
    compare(same, getattr(cases, theme))


@EVERY
@pytest.mark.parametrize(
    "theme", ["CJSON_ENCODE", "CJSON_DECODE", "CJSON_OPTIONS", "CMSGPACK", "STRUCT", "BIT"]
)
def test_replies_of_scripts_that_use_libraries(same: Pair, theme: str) -> None:
    compare(same, getattr(library_cases, theme))


@MODERN
def test_global_tables_are_readonly(same: Pair) -> None:
    compare(same, cases.READONLY)


@MODERN
def test_deeply_nested_results(same: Pair) -> None:
    compare(same, cases.DEEP)


@CURRENT
def test_errors_that_are_tables(same: Pair) -> None:
    compare(same, cases.MODERN_ERRORS)


@pytest.mark.servers("redis-7.0", "redis-6.2", "valkey-9.1")
def test_error_texts_with_line_breaks(same: Pair) -> None:
    compare(same, cases.BREAKING_LINES)


@EVERY
def test_libraries_have_the_same_members(same: Pair) -> None:
    compare(same, tuple(way % name for way in cases.TABLES for name in cases.LIBRARIES))


@MODERN
def test_globals_have_the_same_members(same: Pair) -> None:
    compare(same, tuple(way % "_G" for way in cases.TABLES))


@EVERY
def test_random_seed_carries_over_to_the_next_script(same: Pair) -> None:
    same("EVAL", "math.randomseed(1)", "0")
    for _ in range(3):
        same("EVAL", "return {math.random(1000), math.random(1000)}", "0")


SHA = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db"
"""The SHA1 of ``return 1``, which each case loads first."""

COMMANDS: dict[str, tuple[tuple[str, ...], ...]] = {
    "evalsha": (
        ("EVALSHA", SHA, "0"),
        ("EVALSHA", SHA.upper(), "0"),
        ("EVALSHA", "x", "0"),
        ("EVALSHA", "f" * 40, "0"),
        ("EVALSHA", "f" * 40, "zz"),
        ("EVALSHA", "x"),
    ),
    "keys-and-arguments": (
        ("EVAL", "return 1", "zz"),
        ("EVAL", "return 1", "-1"),
        ("EVAL", "return 1", "2", "a"),
        ("EVAL", "return {KEYS, ARGV}", "2", "a", "b", "c"),
        ("EVAL", "return {KEYS, ARGV}", "0", "a", "b", "c"),
        ("EVAL", "return {#KEYS, #ARGV}", "100", *map(str, range(300))),
        ("EVAL", "return {#KEYS, #ARGV, KEYS[9000], ARGV[9000]}", "9000", *map(str, range(18000))),
    ),
    "read-only": (
        ("EVAL_RO", "return redis.call('get', 'string')", "0"),
        ("EVAL_RO", "return redis.call('set', 'string', 1)", "0"),
        ("EVAL_RO", "return redis.call('publish', 'channel', 1)", "0"),
        ("EVAL_RO", "return redis.call('pfcount', 'log')", "0"),
        ("EVALSHA_RO", SHA, "0"),
    ),
    "script-subcommands": (
        ("SCRIPT", "EXISTS", SHA, "f" * 40, SHA.upper()),
        ("SCRIPT", "EXISTS"),
        ("SCRIPT", "LOAD", "x = "),
        ("SCRIPT", "LOAD"),
        ("SCRIPT", "NOSUCH"),
        ("SCRIPT", "DEBUG", "zz"),
        ("SCRIPT", "DEBUG", "no"),
        ("SCRIPT", "KILL"),
        ("SCRIPT", "SHOW", SHA),
        ("SCRIPT", "HELP"),
    ),
    "script-flush": (
        ("SCRIPT", "FLUSH", "zz"),
        ("SCRIPT", "FLUSH", "ASYNC"),
        ("EVALSHA", SHA, "0"),
        ("SCRIPT", "EXISTS", SHA),
    ),
    "select-keeps-the-database-of-the-caller": (
        ("EVAL", "return redis.call('select', 5)", "0"),
        ("DBSIZE",),
    ),
}


@EVERY
@pytest.mark.parametrize("commands", COMMANDS.values(), ids=COMMANDS)
def test_script_commands(same: Pair, commands: tuple[tuple[str, ...], ...]) -> None:
    for command in (*cases.FIXTURE, ("SCRIPT", "LOAD", "return 1"), *commands):
        same(*command)


@pytest.mark.parametrize(
    "script", ["x = 1", "redis.call = nil", "string.rep = nil", "return print"]
)
def test_a_script_that_changes_globals_has_no_effect(same: Pair, script: str) -> None:
    for _ in range(2):
        same("EVAL", script, "0")
        same("EVAL", "return redis.call('echo', ('x'):rep(3))", "0")


@EVERY
def test_writes_before_an_error_are_kept(same: Pair) -> None:
    same("EVAL", "redis.call('set', 'k', 'v') error('late')", "0")
    same("GET", "k")


@EVERY
def test_commands_of_scripts_in_commandstats_and_errorstats(same: Pair) -> None:
    same("SET", "string", "x")
    same("CONFIG", "RESETSTAT")
    same("EVAL", "for i = 1, 3 do redis.call('set', 'k', i) end return redis.call('get', 'k')", "0")
    same("EVAL", "return redis.pcall('incr', 'string')", "0")
    same("EVAL", "return redis.call('hget', 'string', 'x')", "0")
    for section, shown in (
        ("commandstats", rb"cmdstat_(set|get|incr|hget|eval):calls=(\d+).*failed_calls=(\d+)"),
        ("errorstats", rb"errorstat_(\w+):count=(\d+)"),
    ):
        same("INFO", section, key=partial(matches, shown))


@EVERY
def test_config_set_in_a_script_applies_to_its_next_command(same: Pair) -> None:
    same("SET", "k", "v", "EX", "100")
    same(
        "EVAL",
        "redis.call('set', 'k', 1) redis.call('config', 'set', 'maxmemory', 1) "
        "local denied = redis.pcall('set', 'k', 2) redis.call('config', 'set', 'maxmemory', 0) "
        "return denied",
        "0",
    )
    same("GET", "k")
    same("CONFIG", "SET", "maxmemory", "0")


@EVERY
def test_scripts_in_a_transaction(same: Pair) -> None:
    for line in (
        "MULTI",
        "SET k 5",
        "EVAL|return redis.call('get','k')|0",
        "EVAL|error('x')|0",
        "EXEC",
    ):
        same(*arguments(line.split("|") if "|" in line else line.split()))


LEFT_BEHIND = (
    "cjson.encode_max_depth(5) cjson.decode_max_depth(7) cjson.encode_number_precision(3) return 1",
    "cjson.encode_sparse_array(true) cjson.encode_invalid_numbers(true) return 1",
    "return {cjson.encode_max_depth(), cjson.decode_max_depth(), cjson.encode(1.23456789)}",
    "return {pcall(cjson.encode, {[100] = 1})}",
    "return {pcall(cjson.encode, {1 / 0})}",
    "return redis.call('hgetall', 'none')",
    "redis.setresp(3) return 1",
    "\n\n string.gsub('a', 'a', function() error('boom', 0) end)",
    "error('boom', 0)",
    "\n pcall(string.gsub, 'a', 'a', function() error('boom', 0) end)\n\n error('boom', 0)",
    "\n\n coroutine.wrap(function() ('a'):gsub('a', function() error('boom', 0) end) end)()",
    "return error('boom', 0)",
)


@pytest.mark.servers("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")
def test_state_that_scripts_leave_for_later_scripts(same: Pair) -> None:
    for _ in range(2):
        for script in LEFT_BEHIND:
            same("EVAL", script, "0")
        same("SCRIPT", "FLUSH")
        for script in LEFT_BEHIND[2:]:
            same("EVAL", script, "0")


AFTER_THE_END = (
    "return 1 end error('x') do",
    "return 1 end error('x', 0) do",
    "return 1 end error({err = 'x'}) do",
    "return 1 end error() do",
    "return 1 end error(5) do",
    "return 1 end one = 5 do",
    "return one",
    "return 1 end local x = nosuch do",
    "return 1 end local function f() y = 1 end f() do",
    "return 1 end local t = KEYS[1] do",
    "return 1 end string.rep('x', -1)() do",
    "return 1 end two = function() return 7",
    "return two()",
    "return 9 end function three() error('in three') end three() do",
    "return 9 end coroutine.yield(1) do",
    "return 9 end rawset(_G, 'four', redis.sha1hex('q')) do",
    "return four",
    "return 9 end redis.setresp(3) do",
    "return redis.call('hgetall', 'none')",
)


@pytest.mark.servers("redis-6.2")
def test_code_after_an_injected_end_runs_in_the_sandbox(same: Pair) -> None:
    same("SCRIPT", "FLUSH")
    for script in AFTER_THE_END:
        same("EVAL", script, "1", "k")
        same("SCRIPT", "LOAD", script)
    same("SCRIPT", "FLUSH")
    same("EVAL", "return one", "0")
