"""One file per cell. Parts that several cells share have files of their own."""

from rtu_np.cells.own_cell.cell import from_step

__all__ = ["from_step"]
