"""How many packets a DSP's instruction set needs for each of an operator's loops, in thousandths of a packet.

Fitted to the packets that the programs of `hexagon/` were counted to need (`tests/bench/hexagon.py fit`).
"""

import json
from pathlib import Path

FILE = Path(__file__).with_name("packets.json")

PACKETS: dict[str, dict[str, dict[str, int]]] = json.loads(FILE.read_text())
"""By instruction set, operator, and loop (an operator's `loops` and `load_loops`)."""
