"""The version of leo-runtime for its own files; `leo_runtime.__version__` and `pyproject.toml` say the same."""

VERSION = "0.1.0"
