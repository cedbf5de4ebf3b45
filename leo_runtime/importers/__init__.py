"""Models of others as they are stored: read, and written with what the runtime needs made explicit."""
