"""The engine: dispatch, admission checks, blocked clients, EXEC, statistics and logs."""
