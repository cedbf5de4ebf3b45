"""The processors that ship with leo-runtime: each module is one backend."""
