"""The real vLLM on a CPU with a tiny model: what vllm-sim is held against."""
