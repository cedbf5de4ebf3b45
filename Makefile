# Everything a contributor runs. `make setup` needs no root, no C compiler and no Python but one of 3.11 or newer.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; exit; }; done)
VENV ?= .venv
EXTRAS ?= test,oclgrind,oracle,recordings,completion,daemon,tables-readers,mqtt,wyoming,microphone,study,search,browser,peers,lint
DEMO := $(VENV)/.demo
READY := $(VENV)/.ready
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check
COMPILED := $(wildcard leo_runtime/*/*.pxd leo_runtime/*/*/*.pxd)

.PHONY: setup demo test long soak lint clean

setup: $(READY)
	@echo "== ready; to have the command leo-runtime: source $(VENV)/bin/activate"

# What the demo needs. Compiled byte code is written here even where PYTHONDONTWRITEBYTECODE is set: without it every
# start is slow.
$(DEMO): pyproject.toml setup.py $(COMPILED) $(COMPILED:.pxd=.py)
	@test -n "$(PYTHON)" || { echo "leo-runtime needs Python 3.11 or newer, and none was found"; \
		echo "hint: install one, or name it: make setup PYTHON=/path/to/python3"; exit 2; }
	@test -x $(VENV)/bin/python || { echo "== making $(VENV)" && $(PYTHON) -m venv $(VENV); } || { \
		echo "hint: on Debian and Ubuntu, venv is a package of its own: apt-get install python3-venv"; exit 2; }
	@echo "== installing leo-runtime and what the demo needs (450 MB on disk)"
	@echo "   1 to 3 minutes: downloads, and the solver is compiled on all cores"
	@$(PIP) install --editable '.[demo]'
	@env -u PYTHONDONTWRITEBYTECODE $(VENV)/bin/python -m compileall -q leo_runtime backends/leo_backends
	@touch $@

$(READY): $(DEMO)
	@echo "== installing what tests and checks need (550 MB more on disk)"
	@echo "   up to 2 minutes: $(EXTRAS)"
	@$(PIP) install 'leo-runtime[$(EXTRAS)]'
	@touch $@

# Measures this machine, then replays the demo's recording, and that with a camera, in virtual time on a phone and in real
# time here.
WITH_CAMERA := --workload demo --workload faces
demo: $(DEMO)
	$(VENV)/bin/leo-runtime calibrate --quick --recording camera $(WITH_CAMERA) --out out/host.profile.json
	$(VENV)/bin/leo-runtime replay
	$(VENV)/bin/leo-runtime replay camera $(WITH_CAMERA)

# On all cores, a file on one of them: `python -m pytest FILE` runs one plainly.
test: $(READY)
	$(VENV)/bin/python -m pytest --numprocesses logical --dist loadfile

# Longer than the suite: exact against its references on problems and windows drawn at random, damaged files of problems,
# of sound, of loggers, of containers and of models, windows played: what they promise and are charged, and what waiting
# for gates misses, runs through faults, with worker processes killed and stopped, and with a server behind a link that is
# cut, and a study on a SLURM of one node.
# `make long PART=10 SEED=7` does a tenth of it, on other problems, and with `--jobs=2 --output-sync` two things at a time,
# but for the last three, which go by the clock.
PART ?= 1
SEED ?= 0
UNTIMED := $(addprefix long-,fuzz exports agreement windows memory memory-runs sound containers promise waits models)
.PHONY: $(UNTIMED)
$(UNTIMED): $(READY)
long-fuzz:
	$(VENV)/bin/python tests/bench/fuzz.py $$((20000 / $(PART))) $(SEED)
long-exports:
	$(VENV)/bin/python tests/bench/fuzz_exports.py $$((1000 / $(PART))) $(SEED)
long-agreement:
	$(VENV)/bin/python tests/bench/agreement.py --problems $$((1000 / $(PART))) --seed $(SEED)
long-windows:
	$(VENV)/bin/python tests/bench/windows.py --only agreement --problems $$((300 / $(PART))) --seed $(SEED)
long-memory:
	$(VENV)/bin/python tests/bench/memory.py --problems $$((300 / $(PART))) --seed $(SEED)
long-memory-runs:
	$(VENV)/bin/python tests/memory_runs.py $$((300 / $(PART))) $(SEED)
long-sound:
	$(VENV)/bin/python tests/bench/fuzz_sound.py $$((1000 / $(PART))) $(SEED)
long-containers:
	$(VENV)/bin/python tests/bench/fuzz_containers.py $$((1000 / $(PART))) $(SEED)
long-promise:
	$(VENV)/bin/python tests/bench/promise.py --windows $$((1000 / $(PART))) --seed $(SEED)
long-waits:
	$(VENV)/bin/python tests/bench/waits.py --windows $$((1000 / $(PART))) --seed $(SEED)
long-models:
	$(VENV)/bin/python tests/bench/models.py leo_runtime/demo/models --flips $$((1000 / $(PART))) --seed $(SEED)
long: $(UNTIMED)
	$(VENV)/bin/python tests/bench/faults.py --frames $$((100000 / $(PART))) --seconds $$((300 / $(PART))) --seed $(SEED)
	$(VENV)/bin/python tests/bench/shaped.py --seconds $$((300 / $(PART))) --seed $(SEED)
	$(VENV)/bin/python tests/bench/slurm.py

# The daemon as a process for ten minutes, with faults from a seed, and killed: `make soak SOAK_S=60 SEED=7`.
SOAK_S ?= 600
soak: $(READY)
	$(VENV)/bin/python tests/soak.py --seconds $(SOAK_S) --seed $(SEED)

lint: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

clean:
	rm -rf $(VENV) build dist out *.egg-info $(COMPILED:.pxd=.c) $(COMPILED:.pxd=.*.so)
