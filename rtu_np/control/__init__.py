"""Learning to act: streaming agents, and PPO in a room of its own."""
