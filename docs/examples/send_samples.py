"""Sends samples to a daemon's socket: raw 16-bit sound on standard input, as it comes.

    arecord -q -t raw -f S16_LE -r 16000 | python send_samples.py SOCKET mic

Each piece is a line of JSON, which says what follows, and the samples. The daemon says in the end how many it took, or
at once what is wrong.
"""

import json
import socket
import sys


def main(path: str, stream: str) -> None:
    """Send all of standard input, and print what the daemon says of it."""
    with socket.socket(socket.AF_UNIX) as daemon, sys.stdin.buffer as sound:
        daemon.connect(path)
        while piece := sound.read(3200):
            said = {"stream": stream, "type": "int16", "bytes": len(piece)}
            daemon.sendall(json.dumps(said).encode() + b"\n" + piece)
        daemon.shutdown(socket.SHUT_WR)
        print(daemon.makefile().read().strip())


if __name__ == "__main__":
    main(*sys.argv[1:])
