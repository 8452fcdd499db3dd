"""The test harness: a real Kubernetes from package registries alone, and a stand-in for vLLM."""

from harness.cluster import gateway_url, hub_url, kubeconfig

__all__ = ["gateway_url", "hub_url", "kubeconfig"]
