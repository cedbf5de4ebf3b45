"""The public names of hardware, for those who write backends."""

from leo_runtime.documents.hardware import Hardware as Hardware
from leo_runtime.documents.hardware import Link as Link
from leo_runtime.documents.hardware import Processor as Processor
from leo_runtime.documents.hardware import Radio as Radio
from leo_runtime.documents.hardware import Store as Store
from leo_runtime.documents.hardware import StoreLoader as StoreLoader
