"""PPO with stored, forward-carried gradients (Elelimy et al. 2024, Algorithm 1)."""
