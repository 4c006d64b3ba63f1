"""A module and its tests, for the tests of mutation testing itself."""
