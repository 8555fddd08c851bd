"""Learning to act: streaming agents, and PPO in a package of its own."""
