"""Mutation testing: podlink with one small change at a time; a test must fail for each.

``make mutants`` runs it. The mutations of Python are those of mutmut and some of our own
(`python_source`), the mutations of Lua are our own (`lua_source`). mutmut's runner is not used: it
selects tests by function instead of line, skips decorated functions and code that runs at import,
and its copies of each method break tests that inspect the class.

- `mutant`: what a mutant is, and the key under which it can be listed as equivalent.
- `worker`: a pytest process that measures which tests run which lines, and forks for each mutant.
- `run`: finds the mutants, sends them to workers, stores the results.
- `report`: which mutants survived, and whether that is within the limits.
"""
