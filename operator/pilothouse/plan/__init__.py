"""Decisions: pure functions from what was observed to what should be. No I/O, no clock, no log."""
