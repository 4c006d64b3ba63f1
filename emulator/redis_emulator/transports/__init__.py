"""Transports: in-process connections for redis-py, and the TCP server.

The in-process connections skip sockets and the encoding of commands and replies.
"""
