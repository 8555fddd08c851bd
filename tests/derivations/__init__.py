"""The equations of docs/derivations.md, each evaluated against a computation of another kind.

The equations stand here as the document writes them, in NumPy alone. Nothing is imported from the package, so that the
page and the package are two statements that can contradict each other. The other computations are complex arithmetic,
the complex step, sums over the past written out in full, matrix equations and simulation.

A file holds the tests of one chapter and has its name. README.md says how to run those of one equation.
"""
