"""Changing the world: what a Plan says, and nothing more."""
