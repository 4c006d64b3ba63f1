"""Mutation testing: wrong versions of podlink, one small change each, and whether a test notices.

``make mutants`` runs it. The mutations of Python are those of mutmut and some of our own
(`python_source`), the mutations of Lua are our own (`lua_source`). mutmut's runner is not used: it
chooses tests by function and not by line, leaves out decorated functions and what runs at import,
and its copies of each function in a class break tests that look at the class.

- `mutant`: what a mutant is, and the name under which it can be listed as equivalent.
- `worker`: a pytest process that measures which tests run which lines, and forks for each mutant.
- `run`: finds the mutants, gives them to workers, keeps the results.
- `report`: what survived, and whether that is within the limits.
"""
