"""Placement studies: one question in one document, a row for each of its cells, kept as soon as it is there."""
