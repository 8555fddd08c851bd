"""The tools of every experiment: sweeps, the files of a run, the choice of step sizes, and the style of figures.

The engine knows no experiment. A sweep gets the name of a module that has `run` and `label`, and imports the module.
"""
