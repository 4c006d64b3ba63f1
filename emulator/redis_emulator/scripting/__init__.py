"""Lua scripting: the sandbox, the conversions between replies and Lua values, and the libraries.

`runtime.LuaScripts` is all that commands use. The parts in Lua are read from the ``.lua`` files
beside it. Only `direct` knows what a command is: whatever else a script calls is a function handed
to `LuaScripts`.
"""
