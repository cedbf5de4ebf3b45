"""A server that runs stages of a workload for others, by the Open Inference Protocol v2 over HTTP."""
