"""The OpenCL backend: log-mel and MFCC features, Gaussian mixtures and dense networks on any OpenCL device."""

from leo_backends.opencl.backend import OpenClBackend, OpenClKernel

__all__ = ["OpenClBackend", "OpenClKernel"]
