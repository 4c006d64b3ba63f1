"""Settings of our own test suite. A user's needs none of them: the plugin comes with podlink."""

from hypothesis import settings

pytest_plugins = ["pytester"]

# A busy machine is slow without being wrong.
settings.register_profile("podlink", deadline=None, print_blob=True)
settings.load_profile("podlink")
