"""Ten seconds of sound from a buffer, as one batch of ten frames on a phone. `python docs/examples/buffered.py`.

A frame a second, each of the two seconds of sound before its release: the demo's graph `scene` needs that much. The
recording stands for the buffer: cut your own samples the same way.
"""

from collections import Counter

from leo_runtime import FrameResult, Runtime, shipped

SECOND_US = 1_000_000


def hear(first_us: int = 31 * SECOND_US, frames: int = 10) -> FrameResult:
    """Submit so many frames, a second apart, as one batch."""
    demo, phone, profile = shipped.workload(), shipped.hardware("snapdragon-800"), shipped.profile("snapdragon-800")
    scene = demo.model_copy(update={"graphs": tuple(graph for graph in demo.graphs if graph.name == "scene")})
    buffer = shipped.recording("demo")
    with Runtime.simulated(scene, phone, profile) as runtime:
        batch = []
        for release_us in range(first_us, first_us + frames * SECOND_US, SECOND_US):
            wanted = runtime.sources(["scene"])
            batch.append(
                (release_us, {one.stage: buffer.window(one.stream, release_us, one.samples) for one in wanted})
            )
        runtime.submit_batch(batch, graphs=["scene"])
        (result,) = runtime.drain()
    return result


def report(result: FrameResult) -> None:
    """Print what was found in each frame, and what ran where: how often, and for how many frames at once."""
    for answer in result.graphs:
        print(f"frame {answer.number}, {answer.release_us / 1e6:g} s:", answer.label or answer.outcome)
    ran = Counter(
        (result.jobs[run.stage].stage, run.resource, len(result.jobs[run.stage].frames))
        for run in result.stages
        if run.outcome == "done"
    )
    for (stage, resource, frames), times in ran.items():
        print(f"{stage} on {resource}: {times} times {frames}")


if __name__ == "__main__":
    report(hear())
