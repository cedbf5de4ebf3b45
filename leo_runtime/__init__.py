"""leo-runtime: decides, frame by frame, which stage of which sensing pipeline runs where, and runs it."""
