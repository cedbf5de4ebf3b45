"""What holds for every test."""

from hypothesis import settings

# How long an example takes says how busy the machine is, not whether what is tested is right.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
