"""`python -m leo_runtime` is the command `leo-runtime`."""

import sys

from leo_runtime.cli import main

sys.exit(main())
