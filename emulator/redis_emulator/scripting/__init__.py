"""Lua scripting: the sandbox, the conversions between replies and Lua values, and the libraries.

`runtime.LuaScripts` is all that commands use. The parts in Lua are read from the ``.lua`` files
beside it. Nothing in this package knows a command or a client: what a script calls is a function
handed to ``run``.
"""
