"""The compiled sources and nothing else: what a solve spends its time in (see docs/solver.md)."""
