"""The seven kinds of `pilothouse.dev/v1alpha1`, one module each, and the generator of their CRDs."""
