"""A recording run through a workload, its log, and what such a run comes to."""
