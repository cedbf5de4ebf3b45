"""Recorded sensor data: the manifest, and a reader for each format of its files."""
