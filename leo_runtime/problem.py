"""The public names of problems and placements, of a frame and of a window, for those who write solvers."""

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
from leo_runtime.documents.window import CERTAIN as CERTAIN
from leo_runtime.documents.window import Span as Span
from leo_runtime.documents.window import WindowPlacement as WindowPlacement
from leo_runtime.documents.window import WindowProblem as WindowProblem
from leo_runtime.documents.window import WindowResource as WindowResource
from leo_runtime.documents.window import WindowStage as WindowStage
from leo_runtime.documents.window import WindowTransfer as WindowTransfer
from leo_runtime.documents.window import answer_from_file as answer_from_file
from leo_runtime.documents.window import as_window as as_window
from leo_runtime.documents.window import question_from_file as question_from_file
