"""What learners are put together from: a network with its traces, readouts, heads, optimisers, normalisers."""
