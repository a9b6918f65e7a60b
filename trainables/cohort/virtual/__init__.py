"""A virtual cohort: simulated heads, early and delayed after contrast agent, written as a BIDS folder."""

from trainables.cohort.virtual.protocol import VirtualCohortConfig
from trainables.cohort.virtual.simulate import simulate_cohort

__all__ = ["VirtualCohortConfig", "simulate_cohort"]
