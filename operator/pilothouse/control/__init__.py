"""The loop that joins observing, planning and acting."""
