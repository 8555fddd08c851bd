"""Learning to predict: streaming TD(lambda)."""
