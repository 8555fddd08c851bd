"""Environments that several figures share, by their ids without "rtu_np/" and version."""

# -P hides velocities, -V hides positions and angles.
ROBOTS = [f"{robot}-{kept}" for kept in "PV" for robot in ("HalfCheetah", "Hopper", "Walker2d", "Ant")]
# The five of Elelimy et al. 2024, and one more.
POPGYM = [f"{name}Easy" for name in ("RepeatFirst", "CountRecall", "Concentration", "Autoencode", "HigherLower")]
REPEAT_PREVIOUS = "RepeatPreviousEasy"
