"""What starts when: a state machine without clock or thread, and the two that drive it. It knows no workload."""
