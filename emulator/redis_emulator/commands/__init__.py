"""The commands, one module per family, each a small function of a session and the argument list.

A command returns a plain reply or raises `RedisError`. It does not know through which door its
client came, which protocol it speaks, or whether it runs inside MULTI or a script; arity, access
and server state have been checked before it is called.
"""
