"""The public names of problems and placements, for those who write solvers."""

from leo_runtime.documents.problem import CRITERIA as CRITERIA
from leo_runtime.documents.problem import AccuracyBudget as AccuracyBudget
from leo_runtime.documents.problem import Criteria as Criteria
from leo_runtime.documents.problem import Criterion as Criterion
from leo_runtime.documents.problem import Deadline as Deadline
from leo_runtime.documents.problem import Link as Link
from leo_runtime.documents.problem import Mode as Mode
from leo_runtime.documents.problem import Placement as Placement
from leo_runtime.documents.problem import Problem as Problem
from leo_runtime.documents.problem import Resource as Resource
from leo_runtime.documents.problem import StageModes as StageModes
from leo_runtime.documents.problem import StageRun as StageRun
from leo_runtime.documents.problem import TransferRun as TransferRun
