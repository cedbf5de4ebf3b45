# C types for placements.py.
cimport cython

cdef _made(kind, set keys, dict values)
@cython.locals(at=Py_ssize_t, values=dict, mode=dict, names=list, costs=list, resources=list, lanes=list, places=list)
cpdef placement(flat, list answer, solver, status, bounds, began_ns)
