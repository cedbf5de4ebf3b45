"""The independent judges of answers: for one frame (`check`), and for a window (`leo_runtime.judge.window`)."""

from leo_runtime.judge.frame import CheckReport as CheckReport
from leo_runtime.judge.frame import Violation as Violation
from leo_runtime.judge.frame import check as check
