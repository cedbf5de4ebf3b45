"""What each kind of layer means: its options, its output's shape, its work, and the reference that defines it."""
