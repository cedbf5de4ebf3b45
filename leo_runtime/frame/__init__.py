"""One frame: what it finds, the question that is made of it, what became of it, and what it cost."""
