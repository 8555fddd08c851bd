"""The page docs/claims.md: what the paper and its followers claim, and whether our results bear it out.

`python -m experiments.claims` makes the page from the committed results in docs/results. Nothing on it is judged by
hand: `experiments.engine.verdicts` has the rule. The claims stand in `experiments.paper_claims` and
`experiments.follower_claims`.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from experiments import follower_claims, paper_claims
from experiments.engine import verdicts
from experiments.engine.layouts import with_interval
from experiments.engine.verdicts import Claim, Number, Verdict, Vote
from rtu_np import files
from rtu_np.commands import exit_code

DOCS = Path(__file__).parent.parent / "docs"
CLAIMS = [*paper_claims.CLAIMS, *follower_claims.CLAIMS]
# {(experiment, preset): (commit, reason)}: results of this commit are of an earlier task or agent, and decide nothing.
EARLIER: dict[tuple[str, str], tuple[str, str]] = {}


def page(results: Path, claims: list[Claim] = CLAIMS, earlier: dict[tuple[str, str], tuple[str, str]] = EARLIER) -> str:
    """The page as text. ResultsError if results are missing, or if `earlier` names a commit that made none of them."""
    for (experiment, preset), (commit, _) in earlier.items():
        if not any(each.startswith(commit) for each in verdicts.commits(results, experiment, preset)):
            raise verdicts.ResultsError(
                f"{results / experiment / preset}.json is not there, or not of commit {commit} any more, which EARLIER "
                "names as of an earlier task: delete its entry there"
            )
    judged = [verdicts.decide(claim, results, earlier) for claim in claims]
    counted = Counter(verdict.verdict for verdict in judged)
    head = HEAD.format(
        **{name.replace(" ", "_"): counted[name] for name in (verdicts.HOLDS, verdicts.DOES_NOT, verdicts.OPEN)}
    )
    return "\n".join(
        [head, *map(_row, judged), "", NUMBERS, *(line for verdict in judged for line in _numbers(verdict))]
    )


HEAD = f"""# Claims

What the paper (Elelimy et al. 2024) and its followers claim, and what the results of this repository say. The page is
made from [results](results) by `python -m experiments.claims`, and a test checks that it is. Nobody has judged by hand:
Of the paper's claims, its followers' and ours, {{holds}} hold, {{does_not}} do not, {{open}} are open.

**The rule.** A claim is a list of comparisons of means over seeds, each with its 95 % bootstrap interval over seeds.

- *Above*, *below*: for the claim if the two intervals lie apart as claimed, against it if they lie apart the other way,
  and undecided if they overlap.
- *Not above*, *not below*: against the claim if the intervals lie apart the other way, and otherwise for it.
- *Level with*: for the claim if each mean lies in the interval of the other, against it if the intervals lie apart, and
  otherwise undecided.
- With fewer than {verdicts.MIN_SEEDS} seeds nothing is decided. Times and weights have no interval, and are compared as
  numbers.

A claim **holds** if all its comparisons are for it; it **does not** if any is against it; otherwise it is **open**. So
is a claim whose results are of an earlier task or agent. A claim about most cases holds if more than half of them are
for it, and does not if at least half are against it. Two intervals may overlap although the means differ: open is not
*no difference*.

| claim | source | verdict | our numbers | seeds | command |
|---|---|---|---|---|---|"""
NUMBERS = """## The numbers

Each comparison, with its vote. `[low, high]` is the 95 % interval. Diverged runs are counted if there are any."""


def _row(judged: Verdict) -> str:
    claim = judged.claim
    verdict = f"**{judged.verdict}**" + (f": {judged.reason}" if judged.reason else "")
    counts = {vote.left.seeds for vote in judged.votes} | {vote.right.seeds for vote in judged.votes}
    seeds = ", ".join(map(str, sorted(counts)))
    command = f"`python -m experiments {claim.results} --preset {judged.preset}` ([figure]({_file(judged, 'png')}))"
    text = claim.text + (f" ({claim.remark})" if claim.remark else "")
    return f"| {text} | {claim.source} | {verdict} | {_summary(judged)} | {seeds} | {command} |"


def _file(judged: Verdict, suffix: str) -> str:
    return f"results/{judged.claim.results}/{judged.preset}.{suffix}"


def _summary(judged: Verdict) -> str:
    """How many comparisons are for the claim, and the first of those that decide it."""
    if not judged.votes:
        return "none yet"
    counted = Counter(vote.vote for vote in judged.votes)
    order = (verdicts.AGAINST, verdicts.UNDECIDED, verdicts.FOR)
    shown = min(judged.votes, key=lambda vote: order.index(vote.vote))
    counts = ", ".join(f"{counted[kind]} {kind}" for kind in reversed(order) if counted[kind])
    return f"{counts}; {shown.vote}: {_sentence(shown)}"


def _sentence(vote: Vote) -> str:
    times = "" if vote.times == 1 else f"{vote.times:g} times "
    return f"{_number(vote.left)} {vote.relation} {times}{_number(vote.right)}"


def _number(number: Number) -> str:
    if not number.name:
        return f"{number.mean:g}"
    diverged = f" ({number.diverged} of {number.seeds} diverged)" if number.diverged else ""
    return f"{number.name}: {with_interval(number.mean, number.low, number.high)}{diverged}"


def _numbers(judged: Verdict) -> Iterator[str]:
    yield f"\n**{judged.claim.text}** ({judged.claim.source}): {judged.verdict}; [JSON]({_file(judged, 'json')})\n"
    for vote in judged.votes:
        yield f"- {vote.vote}: {_sentence(vote)}" + (f" ({vote.reason})" if vote.reason else "")


def main(argv: list[str] | None = None) -> int:
    top = argparse.ArgumentParser(
        prog="python -m experiments.claims",
        description="Make the page of claims from committed results.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    top.add_argument("--results", type=Path, default=DOCS / "results", help="the folder of committed results")
    top.add_argument("--output", type=Path, default=DOCS / "claims.md", help="the page")
    arguments = top.parse_args(argv)
    try:
        text = page(arguments.results)
        with files.replacing(arguments.output) as part:
            part.write_text(text + "\n", encoding="utf-8")
    except (verdicts.ResultsError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"page: {arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
