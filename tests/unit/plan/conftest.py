"""Hypothesis without a deadline: a busy machine is not a defect."""

from hypothesis import settings

settings.register_profile("plan", deadline=None)
settings.load_profile("plan")
