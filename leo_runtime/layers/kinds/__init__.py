"""What each kind of layer means: its options, its output's shape, its work, and the reference that defines it.

Another kind takes its `LayerKind` in a family's file here: reading, writing, cutting and counting know it by that, and
the CPU runs it. A function in `leo_backends/opencl/layer_plans.py` lets OpenCL run it; of int8, its loops in
`leo_backends/dsp/layers.py` and its words in `leo_backends/dsp/hexagon/layers.py` the DSP. So it touches four files at
most, where the kernels of `layers.cl` and the loops of `layers.c` can do what it does.
"""
