"""Documents that ship with leo-runtime: machines (`*.hardware.toml`) and what stages cost there (`*.profile.toml`)."""
