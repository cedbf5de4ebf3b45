"""A daemon in miniature: frames in real time on the machine at hand. `python docs/examples/daemon.py`, two seconds.

The recording stands for a microphone: give the newest samples instead. Audio is int16, or floats from -1 to 1; what
other sensors give is taken as it is. `submit` is told to wait for the frame's release, so the loop keeps time.
"""

from leo_runtime import FrameResult, GraphBuilder, Hardware, Profile, Runtime, Stream, Workload, shipped

graph = GraphBuilder("ears", period_us=250_000, deadline_us=1_000_000)
sound = graph.stage("sound", "window", stream="mic", samples=16_000)
loud = graph.stage("loud", "energy_gate", sound, threshold_dbfs=-50.0)
graph.stage("mel", "log_mel", sound, gate=loud)
streams = (Stream(name="mic", kind="audio", rate_hz=16_000),)
WORKLOAD = Workload(format="leo-workload/1", name="listening", streams=streams, graphs=(graph.build(),))
CPU = {"name": "cpu", "backend": "cpu", "active_mw": 1_000}
HARDWARE = Hardware.from_dict({"format": "leo-hardware/1", "name": "here", "processors": [CPU]})
# Made up; `leo-runtime calibrate` measures.
COST = {"processor": "cpu", "fixed_us": 500, "ps_per_mac": 500, "source": "modelled: made up"}
PROFILE = Profile.from_dict({"format": "leo-profile/1", "name": "here", "hardware": "here", "costs": [COST]})


def listen(frames: int = 8, start_us: int = 5_000_000) -> None:
    """Submit so many frames, a period apart, and print each as it ends."""
    microphone = shipped.recording("demo")
    with Runtime.live(WORKLOAD, HARDWARE, PROFILE) as runtime:
        for now_us in range(start_us, start_us + frames * 250_000, 250_000):
            wanted = runtime.sources(runtime.triggered(now_us))
            windows = {one.stage: microphone.window(one.stream, now_us, one.samples) for one in wanted}
            runtime.submit(now_us, windows, wait=True)
            report(runtime.results())  # what has ended so far
        report(runtime.drain())  # what has not


def report(results: tuple[FrameResult, ...]) -> None:
    """Print what became of each frame."""
    for result in results:
        (ears,) = result.graphs
        print(result.release_us, ears.outcome, "late" if ears.missed else "in time", *ears.outputs)


if __name__ == "__main__":
    listen()
