"""The object a daemon embeds, and what it is made of."""

from leo_runtime.runtime.runtime import Runtime as Runtime
