"""A cell from one function, with derivatives by dual numbers."""
