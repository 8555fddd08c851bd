"""One file for each figure. Learners meet environments only here. `python -m experiments` lists all experiments."""
