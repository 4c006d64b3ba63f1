"""The types of values. These classes do not depend on clients, the clock or commands."""
