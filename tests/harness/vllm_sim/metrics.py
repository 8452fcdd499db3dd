"""The metrics of vLLM 0.32.0: names, labels and buckets, moved by the same events.

Source: vllm/v1/metrics/loggers.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from harness.vllm_sim.config import EngineConfig
from harness.vllm_sim.scheduler import Request, Scheduler, Step

ENGINE = "0"
# By the names that --custom-histogram-buckets has for them; the token counts depend on the context.
BUCKETS: Mapping[str, Sequence[float]] = {
    "request_latency": (
        *(0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50),
        *(60, 120, 240, 480, 960, 1920, 7680),
    ),
    "time_to_first_token": (
        *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
        *(1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560),
    ),
    "inter_token_latency": (
        *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75),
        *(1, 2.5, 5, 7.5, 10, 20, 40, 80),
    ),
    "iteration_tokens": (1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384),
    "request_params_n": (1, 2, 5, 10, 20),
    "request_num_preemptions": (1, 2, 3, 4, 5, 10, 20),
}

ESTIMATES = {
    "estimated_flops_per_gpu": "Estimated number of floating point operations per GPU",
    "estimated_read_bytes_per_gpu": "Estimated number of bytes read from memory per GPU",
    "estimated_write_bytes_per_gpu": "Estimated number of bytes written to memory per GPU",
}
# The labels of vllm:cache_config_info that say nothing about a stand-in have the values of an untouched vLLM.
CACHE_CONFIG = {
    "_block_size_resolved": "True",
    "cache_dtype": "auto",
    "cache_hit_alignment_tokens": "None",
    "enable_mamba_shared_prefix_checkpoint": "False",
    "gpu_memory_utilization": "0.92",
    "hash_block_size": "None",
    "is_attention_free": "False",
    "kv_cache_dtype_skip_layers": "[]",
    "kv_cache_layout": "None",
    "kv_cache_memory_bytes": "None",
    "kv_offloading_backend": "native",
    "kv_offloading_size": "None",
    "kv_sharing_fast_prefill": "False",
    "mamba_block_size": "None",
    "mamba_cache_dtype": "auto",
    "mamba_cache_mode": "none",
    "mamba_page_size_padded": "None",
    "mamba_ssm_cache_dtype": "auto",
    "num_cpu_blocks": "None",
    "num_gpu_blocks_override": "None",
    "prefix_cache_retention_interval": "0",
    "prefix_caching_hash_algo": "sha256",
    "prefix_match_unit": "None",
    "replayssm_buffer_len": "16",
    "skip_page_size_padded": "None",
    "sliding_window": "None",
    "swa_bounded_replay": "True",
    "use_kda_recoverssm": "False",
    "use_replayssm": "False",
    "user_specified_block_size": "False",
}


@dataclass
class Times:
    """When things happened to a request, in seconds of one clock; 0 until they have."""

    arrived: float
    admitted: float = 0
    first_token: float = 0
    last_token: float = 0


@dataclass(frozen=True)
class Finished:
    """What is counted of an answer that has ended; `choices` is n on the first of n answers, else 0."""

    reason: str
    choices: int
    times: Times
    now: float
    prompt_tokens: int
    output_tokens: int
    cached_tokens: int
    preemptions: int
    max_tokens: int


def one_two_five(longest: int) -> Sequence[int]:
    """The series 1, 2, 5, 10, 20 ... up to `longest`."""
    series = (step * 10**power for power in range(len(str(longest))) for step in (1, 2, 5))
    return [value for value in series if value <= longest]


class Metrics:
    """All families of one engine in a registry of their own."""

    def __init__(self, config: EngineConfig) -> None:
        self.registry = CollectorRegistry()
        self._model_name = config.name
        lengths = one_two_five(config.max_model_len)
        self._buckets = {**BUCKETS, "request_tokens": lengths, **config.buckets}
        for collector in (GCCollector, PlatformCollector, ProcessCollector):
            collector(registry=self.registry)
        self._declare_idle()
        self._declare_queues()
        self._declare_tokens()
        self._declare_requests()
        self._declare_latencies()
        self._set_cache_config(config)

    def queues(self, scheduler: Scheduler) -> None:
        """The state of the scheduler has changed."""
        self._running.set(len(scheduler.running))
        self._waiting.set(len(scheduler.waiting))
        self._waiting_by_reason["capacity"].set(len(scheduler.waiting))
        self._kv_usage.set(scheduler.pool.usage)

    def step(self, step: Step, computed_prompt: int, sampled: int) -> None:
        """A step has run and has finished the prompts of so many tokens and sampled so many new ones."""
        self._preemptions.inc(len(step.preempted))
        self._step_tokens.observe(computed_prompt + sampled)

    def admitted(self, request: Request) -> None:
        """A request runs for the first time, and its prompt was looked up in the cache."""
        self._cache_queries.inc(len(request.tokens))
        self._cache_hits.inc(request.cached)
        self._cached_by_source["device"].inc(request.cached)

    def first_token(self, times: Times, prompt_tokens: int, cached: int) -> None:
        """A prompt is done."""
        self._first_token.observe(times.first_token - times.arrived)
        self._prompt_tokens.inc(prompt_tokens)
        self._prompt_by_source["local_compute"].inc(prompt_tokens - cached)
        self._prompt_by_source["local_cache_hit"].inc(cached)
        self._prompt_cached.inc(cached)
        self._generated.inc()

    def next_token(self, gap: float) -> None:
        """One more token, `gap` seconds after the one before."""
        self._token_gap.observe(gap)
        self._generated.inc()

    def rejected(self, reason: str) -> None:
        """A request was not admitted to the queue."""
        self._rejections[reason].inc()

    def finished(self, end: Finished) -> None:
        """A request has ended by itself; vLLM does not count here those whose client has gone."""
        times = end.times
        self._success[end.reason].inc()
        self._prompt_length.observe(end.prompt_tokens)
        self._output_length.observe(end.output_tokens)
        if end.choices:
            self._longest_choice.observe(end.output_tokens)
            self._choices.observe(end.choices)
        self._max_tokens.observe(end.max_tokens)
        self._preempted.observe(end.preemptions)
        self._computed_prompt.observe(end.prompt_tokens - end.cached_tokens)
        self._end_to_end.observe(end.now - times.arrived)
        self._queue_time.observe(times.admitted - times.arrived)
        self._inference.observe(times.last_token - times.admitted)
        self._prefill.observe(times.first_token - times.admitted)
        self._decode.observe(times.last_token - times.first_token)
        gaps = max(end.output_tokens - 1, 1)
        self._mean_gap.observe((times.last_token - times.first_token) / gaps)

    def _declare_idle(self) -> None:
        """Families that nothing moves here, as nothing moves them in a plain vLLM."""
        for name, text in ESTIMATES.items():
            self._counter(name, f"{text} (for Model Flops Utilization calculations).")
        external = (
            "External prefix cache {} from KV connector cross-instance cache sharing, "
            "in terms of number of {} tokens."
        )
        self._counter("external_prefix_cache_queries", external.format("queries", "queried"))
        self._counter("external_prefix_cache_hits", external.format("hits", "cached"))
        self._counter("mm_cache_queries", "Multi-modal cache queries, in terms of number of queried items.")
        self._counter("mm_cache_hits", "Multi-modal cache hits, in terms of number of cached items.")
        text = (
            "Engine sleep state; awake = 0 means engine is sleeping; awake = 1 means engine is awake; "
            "weights_offloaded = 1 means sleep level 1; discard_all = 1 means sleep level 2."
        )
        states = ("awake", "weights_offloaded", "discard_all")
        self._gauges("engine_sleep_state", text, "sleep_state", states)["awake"].set(1)

    def _declare_queues(self) -> None:
        self._running = self._gauge("num_requests_running", "Number of requests in model execution batches.")
        self._waiting = self._gauge("num_requests_waiting", "Number of requests waiting to be processed.")
        text = (
            "Number of waiting requests by reason. "
            "Reason labels: 'capacity' = waiting for scheduling capacity; "
            "'deferred' = deferred by transient constraints (LoRA budget, KV transfer, blocked status). "
            "Sum of all reasons equals vllm:num_requests_waiting."
        )
        self._waiting_by_reason = self._gauges(
            "num_requests_waiting_by_reason", text, "reason", ("capacity", "deferred")
        )
        self._kv_usage = self._gauge("kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage.")
        self._preemptions = self._counter(
            "num_preemptions", "Cumulative number of preemption from the engine."
        )
        rejections = Counter(
            "vllm:admission_rejections",
            "Number of admission attempts rejected by a queue limit, by reason.",
            ["model_name", "reason"],
            registry=self.registry,
        )
        reasons = ("max_num_queued_reqs", "max_num_queued_tokens")
        self._rejections = {reason: rejections.labels(self._model_name, reason) for reason in reasons}

    def _declare_tokens(self) -> None:
        cache = "Prefix cache {}, in terms of number of {} tokens."
        self._cache_queries = self._counter("prefix_cache_queries", cache.format("queries", "queried"))
        self._cache_hits = self._counter("prefix_cache_hits", cache.format("hits", "cached"))
        self._prompt_tokens = self._counter("prompt_tokens", "Number of prefill tokens processed.")
        sources = ("local_compute", "local_cache_hit", "external_kv_transfer")
        self._prompt_by_source = self._counters(
            "prompt_tokens_by_source", "Number of prompt tokens by source.", "source", sources
        )
        self._prompt_cached = self._counter(
            "prompt_tokens_cached", "Number of cached prompt tokens (local + external)."
        )
        text = (
            "Prefix-cache hit tokens by the cache tier that supplied them: device (local HBM), "
            "host (offloaded to DRAM), disk, p2p (transferred from another vLLM instance) or "
            "external_unspecified. "
            "Counted at admission; sums to vllm:prefix_cache_hits + vllm:external_prefix_cache_hits."
        )
        tiers = ("device", "host", "p2p", "disk", "external_unspecified")
        self._cached_by_source = self._counters("prompt_tokens_cached_by_source", text, "source", tiers)
        self._generated = self._counter("generation_tokens", "Number of generation tokens processed.")
        self._step_tokens = self._histogram(
            "iteration_tokens_total", "Histogram of number of tokens per engine_step.", "iteration_tokens"
        )

    def _declare_requests(self) -> None:
        reasons = ("stop", "length", "abort", "error", "repetition")
        self._success = self._counters(
            "request_success", "Count of successfully processed requests.", "finished_reason", reasons
        )
        self._prompt_length = self._histogram(
            "request_prompt_tokens", "Number of prefill tokens processed.", "request_tokens"
        )
        self._output_length = self._histogram(
            "request_generation_tokens", "Number of generation tokens processed.", "request_tokens"
        )
        self._longest_choice = self._histogram(
            "request_max_num_generation_tokens",
            "Histogram of maximum number of requested generation tokens.",
            "request_tokens",
        )
        self._choices = self._histogram(
            "request_params_n", "Histogram of the n request parameter.", "request_params_n"
        )
        self._max_tokens = self._histogram(
            "request_params_max_tokens", "Histogram of the max_tokens request parameter.", "request_tokens"
        )
        self._preempted = self._histogram(
            "request_num_preemptions",
            "Histogram of the number of times a request was preempted.",
            "request_num_preemptions",
        )
        self._computed_prompt = self._histogram(
            "request_prefill_kv_computed_tokens",
            "Histogram of new KV tokens computed during prefill (excluding cached tokens).",
            "request_tokens",
        )

    def _declare_latencies(self) -> None:
        self._first_token = self._histogram(
            "time_to_first_token_seconds",
            "Histogram of time to first token in seconds.",
            "time_to_first_token",
        )
        self._token_gap = self._histogram(
            "inter_token_latency_seconds",
            "Histogram of inter-token latency in seconds.",
            "inter_token_latency",
        )
        self._mean_gap = self._histogram(
            "request_time_per_output_token_seconds",
            "Histogram of time_per_output_token_seconds per request.",
            "inter_token_latency",
        )
        self._end_to_end = self._histogram(
            "e2e_request_latency_seconds", "Histogram of e2e request latency in seconds.", "request_latency"
        )
        self._queue_time = self._phase("queue", "WAITING")
        self._inference = self._phase("inference", "RUNNING")
        self._prefill = self._phase("prefill", "PREFILL")
        self._decode = self._phase("decode", "DECODE")

    def _set_cache_config(self, config: EngineConfig) -> None:
        limits = config.limits
        tokens = limits.num_blocks * limits.block_size
        labels = CACHE_CONFIG | {
            "engine": ENGINE,
            "block_size": str(limits.block_size),
            "effective_attention_block_size": str(limits.block_size),
            "enable_prefix_caching": str(limits.prefix_caching),
            "kv_cache_max_concurrency": str(tokens / config.max_model_len),
            "kv_cache_size_tokens": str(tokens),
            "num_gpu_blocks": str(limits.num_blocks),
        }
        text = "Information of the LLMEngine CacheConfig"
        Gauge("vllm:cache_config_info", text, list(labels), registry=self.registry).labels(**labels).set(1)

    def _phase(self, name: str, phase: str) -> Histogram:
        text = f"Histogram of time spent in {phase} phase for request."
        return self._histogram(f"request_{name}_time_seconds", text, "request_latency")

    def _gauge(self, name: str, text: str) -> Gauge:
        gauge = Gauge(f"vllm:{name}", text, ["model_name", "engine"], registry=self.registry)
        return gauge.labels(self._model_name, ENGINE)

    def _gauges(self, name: str, text: str, label: str, values: Sequence[str]) -> dict[str, Gauge]:
        gauge = Gauge(f"vllm:{name}", text, ["model_name", "engine", label], registry=self.registry)
        return {value: gauge.labels(self._model_name, ENGINE, value) for value in values}

    def _counter(self, name: str, text: str) -> Counter:
        counter = Counter(f"vllm:{name}", text, ["model_name", "engine"], registry=self.registry)
        return counter.labels(self._model_name, ENGINE)

    def _counters(self, name: str, text: str, label: str, values: Sequence[str]) -> dict[str, Counter]:
        counter = Counter(f"vllm:{name}", text, ["model_name", "engine", label], registry=self.registry)
        return {value: counter.labels(self._model_name, ENGINE, value) for value in values}

    def _histogram(self, name: str, text: str, family: str) -> Histogram:
        labels = ["model_name", "engine"]
        histogram = Histogram(
            f"vllm:{name}", text, labels, buckets=self._buckets[family], registry=self.registry
        )
        return histogram.labels(self._model_name, ENGINE)
