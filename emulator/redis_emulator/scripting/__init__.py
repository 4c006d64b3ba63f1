"""Lua scripting with lupa: sandbox, conversion of values, libraries, EVAL and functions.

`runtime` is one Lua state, with the ``.lua`` files of this folder. It knows no commands; it calls
functions that are passed to `LuaScripts`. `scripts` (EVAL, EVALSHA) and `functions` (FUNCTION,
FCALL) connect it to the server. `direct` is the fast path for calls of commands.
"""
