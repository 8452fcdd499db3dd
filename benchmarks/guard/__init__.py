"""What the guard costs: an engine with it beside one without it, and the guard alone."""
