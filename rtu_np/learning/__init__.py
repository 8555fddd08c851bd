"""The parts of learners: a network with its traces, readouts, heads, optimisers, normalisers."""
