"""Stages run by a server elsewhere, by the Open Inference Protocol v2 over HTTP."""

from leo_backends.remote.backend import RemoteBackend

__all__ = ["RemoteBackend"]
