"""The parts of a page that a command writes. Each stands between two comments of the page."""

import re
from collections.abc import Callable


class MarkError(Exception):
    """A page lacks the comments that a part stands between."""


def replaced(text: str, begin: str, end: str, part: str) -> str:
    """`text` with `part` between the lines `begin` and `end`.

    Raises
    ------
    MarkError : if the page does not have both lines once, in this order

    Examples
    --------
    >>> replaced("Seconds: <!-- times --> 3 <!-- end of times -->.", "<!-- times -->", "<!-- end of times -->", "4")
    'Seconds: <!-- times -->\\n4\\n<!-- end of times -->.'
    """
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise MarkError(f"the page has no such part: expected one comment {begin!r}, and below it one comment {end!r}")
    head, rest = text.split(begin)
    return f"{head}{begin}\n{part}\n{end}{rest.split(end)[1]}"


def filled(text: str, kinds: str, make: Callable[[str, str], str]) -> str:
    """`text` with `make(kind, name)` between each comment `<!-- KIND: NAME -->` and its `<!-- end of KIND -->`.

    kinds : regular expression of the kinds

    Raises
    ------
    MarkError : if a comment is not followed by the one that belongs to it, or stands alone
    """
    comments = list(re.finditer(rf"<!-- (?:({kinds}): ([^\n]+?)|end of ({kinds})) -->", text))
    out, at = "", 0
    for k in range(0, len(comments), 2):
        begin, end = comments[k], comments[k + 1] if k + 1 < len(comments) else None
        if not begin[1] or end is None or end[3] != begin[1]:
            kind = begin[1] or begin[3]
            found = f"found {end[0]!r} after it" if end else "found none after it"
            raise MarkError(f"{begin[0]!r} is not one of two: expected a begin and `<!-- end of {kind} -->`, {found}")
        out, at = f"{out}{text[at : begin.end()]}\n{make(begin[1], begin[2])}\n", end.start()
    return out + text[at:]
