"""The public names of workloads, for those who write backends and operators."""

from leo_runtime.documents.binding import BoundStage as BoundStage
from leo_runtime.documents.graph_builder import GraphBuilder as GraphBuilder
from leo_runtime.documents.workload import Decision as Decision
from leo_runtime.documents.workload import Stage as Stage
from leo_runtime.documents.workload import Stream as Stream
from leo_runtime.documents.workload import TaskGraph as TaskGraph
from leo_runtime.documents.workload import Variant as Variant
from leo_runtime.documents.workload import Workload as Workload
