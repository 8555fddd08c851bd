"""Streams that are longer than memory: an iterator of rows or of chunks, learned as they come."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from rtu_np.validation import check_count, count_dimensions

_OF_RUN = ("observations", "cumulants", "discounts", "terminated", "truncated")


class InChunks:
    """A learner with `run`, which can also learn from an iterator."""

    def run_stream(self, rows: Iterable[Any], chunk: int = 1024) -> Iterator[Any]:
        """`run` on a stream that is longer than memory, chunk by chunk, with the same bits. Yields the predictions.

        Nothing is learned before predictions are asked for: `for predictions in learner.run_stream(rows)`.

        Parameters
        ----------
        rows : an iterator of rows (x, c), (x, c, discount), ... as `step` takes them; or of chunks, which are tuples or
            dicts of the arguments of `run`, of any length
        chunk : how many single rows are put together

        Raises
        ------
        ValueError, TypeError : if a chunk is refused. What comes before has been learned; the message says which rows
            are at fault
        FloatingPointError, KeyboardInterrupt : as `run` does, with the predictions of the chunk so far as `result`

        A note of any other error, and of these two, says how many rows have been learned. The learner can go on.

        Examples
        --------
        >>> from rtu_np import LinearRTU, TDLambda
        >>> rows = (([k % 2, 1.0], k % 2) for k in range(2500))
        >>> [len(predictions) for predictions in TDLambda(LinearRTU(8), n_inputs=2).run_stream(rows)]
        [1024, 1024, 452]
        """
        return _learn(self, _chunks(self, rows, check_count("chunk", chunk)))


def _learn(learner: Any, chunks: Iterator[tuple[int, dict[str, Any]]]) -> Iterator[Any]:
    began, start = learner.steps, 0
    try:
        for n_rows, arguments in chunks:
            if n_rows == 0:
                yield learner.empty(0)
                continue
            try:
                made = learner.run(**arguments, progress=False)
            except (TypeError, ValueError) as error:
                raise type(error)(f"rows {start} to {start + n_rows - 1} of the stream: {error}") from error
            start += n_rows
            yield made
    except GeneratorExit:  # nobody asks for more
        raise
    except BaseException as error:
        error.add_note(
            f"{learner.steps - began} rows of the stream have been learned; the learner can go on from there"
        )
        raise


def _chunks(learner: Any, items: Iterable[Any], most: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number of rows, arguments of `run`) of each chunk."""
    rows: list[tuple] = []
    for item in items:
        if _is_row(item):
            rows.append(item)
            if len(rows) < most:
                continue
        if rows:
            yield len(rows), _together(learner, rows)
            rows = []
        if not _is_row(item):
            arguments = dict(item if isinstance(item, Mapping) else zip(_OF_RUN, item, strict=False))
            if "observations" not in arguments:
                raise TypeError(
                    f"rows has a chunk of {', '.join(map(str, arguments)) or 'nothing'}: expected observations and "
                    "cumulants, and what else `run` takes"
                )
            yield len(arguments["observations"]), arguments
    if rows:
        yield len(rows), _together(learner, rows)


def _is_row(item: Any) -> bool:
    """Whether an item is a row, and not a chunk. TypeError if it is neither of the two."""
    if isinstance(item, Mapping):
        return False
    if not isinstance(item, tuple) or not 2 <= len(item) <= len(_OF_RUN):
        size = f" of {len(item)}" if isinstance(item, tuple) else ""
        raise TypeError(
            f"rows has an item of type {type(item).__name__}{size}: expected tuples (x, c), as `step` takes them, or "
            "tuples or dicts of the arguments of `run`. zip(observations, cumulants) makes rows of two arrays"
        )
    return count_dimensions("x", item[0]) < 2


def _together(learner: Any, rows: list[tuple]) -> dict[str, Any]:
    """The arguments of `run` for rows (x, c), which may have a discount and flags of their own."""
    whole = [(*row, *[None] * (len(_OF_RUN) - len(row))) for row in rows]
    columns: dict[str, Any] = {
        name: list(column) for name, column in zip(_OF_RUN, zip(*whole, strict=True), strict=True)
    }
    if all(discount is None for discount in columns["discounts"]):
        columns["discounts"] = None
    else:
        given = [learner.gamma if discount is None else discount for discount in columns["discounts"]]
        shape = np.shape(learner.gamma)  # of many predictions, each may have its own
        columns["discounts"] = [np.broadcast_to(discount, shape) for discount in given] if shape else given
    for name in ("terminated", "truncated"):
        columns[name] = [False if flag is None else flag for flag in columns[name]]
    return columns
