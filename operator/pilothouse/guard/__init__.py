"""What runs inside the engine pod, mounted as files: the guard, the fetch, and what they read."""
