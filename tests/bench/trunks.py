"""One trunk with four heads against four networks: bytes and work, as published and as counted here.

python tests/bench/trunks.py
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from leo_runtime.report.layout import table
from trunks import INPUTS, LABELS, PUBLISHED_MB, counted, workload


def main() -> int:
    """Print the table."""
    rows = []
    for nodes, (_, shared_mb, separate_mb) in PUBLISHED_MB.items():
        shared, separate = (counted(workload(nodes, one)) for one in (True, False))
        rows.append(
            (
                nodes,
                shared_mb,
                separate_mb,
                f"{separate_mb / shared_mb:.2f}",
                f"{shared.weight_bytes / 1e6:.2f}",
                f"{separate.weight_bytes / 1e6:.2f}",
                f"{separate.weight_bytes / shared.weight_bytes:.2f}",
                f"{separate.macs / shared.macs:.2f}",
            )
        )
    header = ("nodes", "published MB", "four", "times", "counted MB", "four", "times", "MACs, times")
    print(table(header, rows))
    print(f"Counted with {INPUTS} values that are read, and {LABELS} labels a head: assumed, they are in no source.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
