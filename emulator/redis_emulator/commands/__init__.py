"""The Redis commands: one module per family, one function per command.

A command takes a `Session` and its arguments as byte strings. It returns a plain reply value or
raises `RedisError`. It does not depend on the client's transport or protocol, nor on whether it
runs in MULTI or in a script. The engine checks arity, ACL and server state before it calls a
command.
"""
