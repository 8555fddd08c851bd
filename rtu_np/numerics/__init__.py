"""Numbers and arrays: elementary functions, flat buffers and their views, activations, products with matrices."""
