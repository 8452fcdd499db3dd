"""The engine: what is generated, what is refused, and what each fault does."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import pytest

import virtual_time
from harness.vllm_sim import engine as engine_module
from harness.vllm_sim import flags
from harness.vllm_sim.config import engine_config
from harness.vllm_sim.engine import Costs, Engine, EngineClosedError, QueueFullError
from harness.vllm_sim.faults import Faults, Slower, hit, slowdown
from harness.vllm_sim.generation import Call, Order
from harness.vllm_sim.metrics import Metrics
from harness.vllm_sim.output import Piece
from harness.vllm_sim.sampling import Sampling

FREE = Costs(step=0, request=0, prompt_token=0)
Start = Callable[..., Engine]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Start an engine with these flags; it is stopped at the test's end."""
    running: list[asyncio.Task[None]] = []

    def start(*arguments: str, faults: Faults | None = None) -> Engine:
        config = engine_config(flags.parse(["serve", "some/model", "--max-model-len", "256", *arguments]))
        engine = Engine(config, FREE, Metrics(config), faults or Faults())
        running.append(asyncio.create_task(engine.run()))
        return engine

    yield start
    for task in running:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def order(name: str = "a", max_tokens: int = 4, prompt: int = 3) -> Order:
    return Order(name, 0, [50] * prompt, Sampling(max_tokens=max_tokens, ignore_eos=True))


async def answered(call: Call) -> list[Piece]:
    return [piece async for piece in call.pieces()]


def value(engine: Engine, name: str, **labels: str) -> float:
    every = {"model_name": "some/model", "engine": "0"} | labels
    return engine.metrics.registry.get_sample_value(f"vllm:{name}", every) or 0


async def begun(call: Call) -> None:
    """Wait for a first piece."""
    await anext(call.pieces())


async def test_an_answer_has_a_piece_per_token(start: Start) -> None:
    pieces = await answered(start().generate([order(max_tokens=4)]))
    assert [piece.finish_reason for piece in pieces] == [None, None, None, "length"]


async def test_a_finished_answer_is_counted(start: Start) -> None:
    engine = start()
    await answered(engine.generate([order(prompt=3, max_tokens=4)]))
    assert value(engine, "request_success_total", finished_reason="length") == 1
    assert value(engine, "prompt_tokens_total") == 3
    assert value(engine, "generation_tokens_total") == 4
    assert value(engine, "inter_token_latency_seconds_count") == 3
    assert value(engine, "iteration_tokens_total_sum") == 7
    assert value(engine, "num_requests_running") == 0


async def test_answers_beyond_the_batch_wait(start: Start) -> None:
    engine = start("--max-num-seqs", "1")
    first = engine.generate([order("first", 200)])
    engine.generate([order("second", 200)])
    await begun(first)
    assert value(engine, "num_requests_running") == 1
    assert value(engine, "num_requests_waiting") == 1


async def test_a_full_queue_refuses_and_counts_it(start: Start) -> None:
    engine = start("--max-num-queued-reqs", "2")
    engine.generate([order("first", 200)])
    engine.check_admission(1)
    with pytest.raises(QueueFullError):
        engine.check_admission(2)
    labels = {"model_name": "some/model", "reason": "max_num_queued_reqs"}
    assert engine.metrics.registry.get_sample_value("vllm:admission_rejections_total", labels) == 1


async def test_a_closed_call_frees_its_place_and_its_blocks_and_is_not_counted(start: Start) -> None:
    engine = start("--max-num-seqs", "1")
    gone = engine.generate([order("gone", 250)])
    await begun(gone)
    gone.close()
    assert value(engine, "num_requests_running") == 0
    assert value(engine, "kv_cache_usage_perc") == 0
    await answered(engine.generate([order("next")]))
    assert value(engine, "request_success_total", finished_reason="abort") == 0


async def test_a_repeated_prompt_is_found_in_the_cache(start: Start) -> None:
    engine = start()
    await answered(engine.generate([order("first", prompt=40)]))
    await answered(engine.generate([order("second", prompt=40)]))
    assert value(engine, "prefix_cache_hits_total") == 32
    assert value(engine, "prompt_tokens_by_source_total", source="local_cache_hit") == 32


async def test_a_small_cache_makes_the_youngest_give_way_and_all_end(start: Start) -> None:
    engine = start("--num-gpu-blocks-override", "16")
    orders = [Order(str(n), n, [60 + n] * 30, Sampling(max_tokens=100, ignore_eos=True)) for n in range(4)]
    pieces = await answered(engine.generate(orders))
    assert sum(piece.finish_reason == "length" for piece in pieces) == 4
    assert value(engine, "num_preemptions_total") > 0
    assert value(engine, "generation_tokens_total") == 400


async def test_a_drain_lets_answers_end_and_takes_no_new_ones(start: Start) -> None:
    engine = start()
    call = engine.generate([order(max_tokens=50)])
    await engine.drain(60)
    assert (await answered(call))[-1].finish_reason == "length"
    with pytest.raises(EngineClosedError):
        engine.generate([order()])


async def test_a_drain_without_time_cuts_answers_off(start: Start) -> None:
    engine = start()
    call = engine.generate([order(max_tokens=250)])
    await engine.drain(0)
    assert (await answered(call))[-1].finish_reason == "abort"


async def test_a_hanging_engine_goes_on_when_mended(start: Start) -> None:
    engine = start(faults=Faults(hang=True))
    call = engine.generate([order()])
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(call.pieces()), 0.05)
    engine.set_faults(Faults())
    assert (await answered(call))[-1].finish_reason == "length"


async def test_endless_output_goes_on_to_the_end_of_the_context(start: Start) -> None:
    engine = start(faults=Faults(endless_output=True))
    stopping = Order("a", 0, [50] * 6, Sampling(max_tokens=2, stop=("e", "a", " ")))
    assert len(await answered(engine.generate([stopping]))) == 250


async def test_another_tokenizer_counts_otherwise(start: Start) -> None:
    engine = start()
    right = engine.tokenizer.encode("def main() -> None:")
    engine.set_faults(Faults(other_tokenizer=True))
    assert engine.tokenizer.encode("def main() -> None:") != right


async def test_a_slowed_request_holds_up_no_other(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = start(faults=Faults(slower_decode=Slower(factor=1e9, share=0.5)))
    monkeypatch.setattr(engine, "_costs", Costs(step=1e-6, request=0, prompt_token=0))
    names = [str(number) for number in range(20)]
    slow = [name for name in names if hit(0.5, name)]
    assert 0 < len(slow) < len(names)
    calls = {name: engine.generate([order(name)]) for name in names}
    for name in names:
        if name not in slow:
            assert len(await answered(calls[name])) == 4
    assert value(engine, "num_requests_running") == len(slow)


def test_what_the_api_server_does_meanwhile_makes_no_step_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def seconds_for_an_answer() -> float:
        config = engine_config(flags.parse(["serve", "some/model"]))
        engine = Engine(config, Costs(step=0.01, request=0, prompt_token=0), Metrics(config), Faults())
        running = asyncio.create_task(engine.run())
        busy = itertools.cycle((0.015, 0))
        async for _ in engine.generate([order(max_tokens=10)]).pieces():
            virtual_time.pass_while_busy(next(busy))
        running.cancel()
        return virtual_time.now()

    monkeypatch.setattr(engine_module.time, "monotonic", virtual_time.now)
    assert virtual_time.run(seconds_for_an_answer()) == pytest.approx(9 * 0.01 + 0.015)


async def test_the_engine_crashes_after_so_many_requests(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(message: str) -> None:
        raise SystemError(message)

    monkeypatch.setattr(engine_module, "crash", crash)
    engine = start(faults=Faults(crash_after_requests=1))
    await answered(engine.generate([order()]))
    with pytest.raises(SystemError, match="fatal error"):
        engine.generate([order()])


def test_a_slowdown_begins_late_and_hits_its_share() -> None:
    fault = Slower(factor=3, after_seconds=10, share=0.25)
    assert slowdown(fault, "any", seconds_set=9) == 1
    slowed = sum(slowdown(fault, str(number), seconds_set=11) == 3 for number in range(1000))
    assert 200 < slowed < 300


def test_faults_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_SIM_FAULTS", '{"errors": {"share": 0.5, "status": 503}, "hang": true}')
    faults = Faults.from_environment()
    assert faults.errors is not None
    assert (faults.errors.status, faults.hang) == (503, True)


def test_an_unknown_fault_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_SIM_FAULTS", '{"slow": 3}')
    with pytest.raises(ValueError, match="slow"):
        Faults.from_environment()
