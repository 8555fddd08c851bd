"""One file per cell; what several cells share stands in files of its own."""
