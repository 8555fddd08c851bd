"""The parts of a page that a command writes. Each stands between two comments of the page."""

import re


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


def check_pairs(text: str, kinds: str) -> None:
    """MarkError if a comment `<!-- KIND: NAME -->` is not followed by its `<!-- end of KIND -->`, or one stands alone.

    kinds : regular expression of the kinds
    """
    comments = list(re.finditer(rf"<!-- (?:({kinds}): [^\n]+?|end of ({kinds})) -->", text))
    for k in range(0, len(comments), 2):
        begin, end = comments[k], comments[k + 1] if k + 1 < len(comments) else None
        if not begin[1] or end is None or end[2] != begin[1]:
            kind = begin[1] or begin[2]
            found = f"found {end[0]!r} after it" if end else "found none after it"
            raise MarkError(f"{begin[0]!r} is not one of two: expected a begin and `<!-- end of {kind} -->`, {found}")
