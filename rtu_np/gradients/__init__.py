"""How a gradient travels through time."""
