"""What every experiment uses: sweeps, the files that a run leaves, the choice of step sizes, and the style of figures.

The engine knows no experiment. A sweep is given the name of a module that has `run` and `label`, and imports it by that
name.
"""
