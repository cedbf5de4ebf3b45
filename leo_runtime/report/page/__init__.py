"""Self-contained HTML pages of a run or a study: pure functions of values; a page asks the network for nothing."""
