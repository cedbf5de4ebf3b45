"""How long the DSP takes: each loop of an operator, so many times, at so many packets (`packets.py`).

A hardware thread issues at most one packet of instructions in each of its cycles, so packets are cycles wherever no
packet waits; for memory it may wait at each of an operator's `passes`. The loops are those of the programs in
`hexagon/program`, and so is how they cut their work; a loop whose name begins with `vector` is there where the vector
unit is.
"""

from __future__ import annotations

Loops = dict[str, int]
"""How often the inside of each loop runs; `call` is what happens once, `load` what happens once as a plan is loaded."""


def packets(loops: Loops, table: dict[str, int]) -> int:
    """Packets of so many loops; `table` gives thousandths of a packet for each loop of the operator."""
    return -(-sum(table.get(loop, 0) * count for loop, count in loops.items()) // 1000)
