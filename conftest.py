"""Settings of our own test suite. A user's needs none of them: the plugin comes with podlink."""

from hypothesis import HealthCheck, Phase, settings

pytest_plugins = ["pytester"]

# A busy machine is slow without being wrong.
settings.register_profile("podlink", deadline=None, print_blob=True)
settings.register_profile(
    "conformance",
    settings.get_profile("podlink"),
    max_examples=2_000,
    stateful_step_count=50,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("quick", settings.get_profile("podlink"), max_examples=20)
# For `make mutants`: the same few examples for every mutant, and the first that fails will do.
settings.register_profile(
    "mutants",
    settings.get_profile("podlink"),
    max_examples=25,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("podlink")
