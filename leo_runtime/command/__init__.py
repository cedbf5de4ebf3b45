"""The commands of `leo-runtime`, one a file.

Each file has an `EXAMPLE` for its help, `add(parser)` for its arguments, `Request`, a frozen value with a field for
each of them, and `run(request)`, which does what is asked for and returns the exit status. What takes long to import is
imported in `run`, so that `--help` costs nothing.
"""
