"""Any recurrence, written as a plain function: its exact gradient, and a check of the gradient that somebody wrote."""
