"""Environments that several figures share, by their ids without "rtu_np/" and version."""

# -P hides velocities, -V hides positions and angles.
ROBOTS = [f"{robot}-{variant}" for variant in "PV" for robot in ("HalfCheetah", "Hopper", "Walker2d", "Ant")]
# Five tasks of Elelimy et al. 2024, and one more.
POPGYM = [f"{name}Easy" for name in ("RepeatFirst", "CountRecall", "Concentration", "Autoencode", "HigherLower")]
REPEAT_PREVIOUS = "RepeatPreviousEasy"
