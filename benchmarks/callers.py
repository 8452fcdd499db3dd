"""`python benchmarks/callers.py URL PER_SECOND` asks until it is terminated, and says how that went."""

import asyncio
import signal
import sys

from traffic import Answer, load


async def _until_terminated(url: str, per_second: int) -> list[Answer]:
    terminated = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminated.set)
    async with load(url, 60 * per_second) as running:
        await terminated.wait()
    return running.answers


def _summary(answers: list[Answer]) -> str:
    lost = [answer for answer in answers if not answer.whole]
    streams = sum(answer.streamed for answer in answers)
    seconds = max(a.ended for a in answers) - min(a.began for a in answers)
    errors = "".join(f"\n  {answer.status} {answer.error}" for answer in lost[:3])
    return (
        f"{len(answers)} requests in {seconds:.0f} s, {streams} of them streams: {len(lost)} failed.{errors}"
    )


if __name__ == "__main__":
    print(_summary(asyncio.run(_until_terminated(sys.argv[1], int(sys.argv[2])))))
