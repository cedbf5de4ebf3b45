"""The independent judges of answers: to a frame (`frame`), a window (`window`), a frame with weights (`memory`)."""

from leo_runtime.judge.frame import CheckReport as CheckReport
from leo_runtime.judge.frame import Violation as Violation
from leo_runtime.judge.frame import check as check
