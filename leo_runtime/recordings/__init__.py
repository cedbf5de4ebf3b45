"""Recorded sensor data: the manifest, a reader for each format of its files, and what writes, cuts and sums up."""
