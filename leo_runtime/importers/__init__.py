"""Models of others, read as they are stored."""
