"""Differential fuzzing: random sequences of commands on the emulator and on a real server, in
lock-step.

One module per command family gives ``commands()``, a strategy of single commands over a small pool
of keys, and may give ``key_for(argv)``, what to apply to both replies before comparing (order of a
set, a clock).
"""
