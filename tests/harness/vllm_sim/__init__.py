"""vllm-sim: a stand-in for `vllm serve` that needs no GPU, no model and no PyTorch.

It answers HTTP, reads flags, counts metrics, batches and drains as vLLM does, so that what is tested on it
also holds on the real engine; `tests/contract` runs the same tests on both.
"""

VLLM_VERSION = "0.32.0"
