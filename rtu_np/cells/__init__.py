"""One file per cell. Parts that several cells share have files of their own."""
