"""Pilothouse: a Kubernetes operator that serves pinned code models on vLLM."""

__version__ = "0.1.0"
