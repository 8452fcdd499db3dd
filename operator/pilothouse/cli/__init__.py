"""`pilothouse`, also `kubectl pilothouse`: what people ask and say, from wherever their kubeconfig is."""
