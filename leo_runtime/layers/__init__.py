"""Neural networks as graphs of layers, whatever file they came from: values, how they are cut, what they cost."""
