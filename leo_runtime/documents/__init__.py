"""The documents that people write or keep: a problem and its placement, hardware, a workload, a profile."""
