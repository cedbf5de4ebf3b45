"""For tests, benches, and authors of solvers and backends.

`random_problem` draws from every feature of `leo-problem/1`; `problems` is the same as a hypothesis strategy.
`BackendContract` is what every backend is held to, `FakeBackend` one that computes nothing.
"""

from leo_runtime.testing.contract import BackendContract as BackendContract
from leo_runtime.testing.contract import Example as Example
from leo_runtime.testing.contract import Tolerance as Tolerance
from leo_runtime.testing.contract import example as example
from leo_runtime.testing.contract import examples as examples
from leo_runtime.testing.fakes import FakeBackend as FakeBackend
from leo_runtime.testing.problems import FEATURES as FEATURES
from leo_runtime.testing.problems import SHAPES as SHAPES
from leo_runtime.testing.problems import URGENCIES as URGENCIES
from leo_runtime.testing.problems import Feature as Feature
from leo_runtime.testing.problems import Shape as Shape
from leo_runtime.testing.problems import Urgency as Urgency
from leo_runtime.testing.problems import problems as problems
from leo_runtime.testing.problems import random_problem as random_problem
