"""The daemon: a workload that runs from a config file, fed by sources, whose answers go to sinks."""
