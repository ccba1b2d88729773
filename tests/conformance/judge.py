"""What run.sh asks of Autobahn's fuzzingclient, and what it makes of the answer.

judge.py spec OUT URL CASES                       prints the fuzzingclient's specification
judge.py verdicts OUT EXIT STORED [--update]
    OUT holds the fuzzingclient's log and index.json, EXIT is its exit code, STORED the file of
    wanted verdicts. Exit code 1 for any verdict that is missing, not good, or not as stored.
"""

import ast
import collections
import difflib
import json
import os
import sys

AGENT = "websock"
GOOD = {"OK", "INFORMATIONAL"}
DIFF_LINES = 60


def spec(out, url, cases):
    json.dump(
        {
            "outdir": os.path.abspath(out),
            "servers": [{"agent": AGENT, "url": url}],
            "cases": cases.split(","),
            "exclude-cases": [],
            "exclude-agent-cases": {},
        },
        sys.stdout,
    )


def order(case):
    return [int(number) for number in case.split(".")]


def group(case):
    return order(case)[0]


def planned(out):
    """The cases that the fuzzingclient has set out to run, as its log says."""
    with open(os.path.join(out, "log"), errors="replace") as log:
        lines = log.read().splitlines()
    return next((ast.literal_eval(line[8:]) for line in lines if line.startswith("Cases = ")), [])


def seen(out):
    """case -> (behavior, behaviorClose); empty if there is no report."""
    try:
        with open(os.path.join(out, "index.json")) as index:
            report = json.load(index).get(AGENT, {})
    except (OSError, ValueError):
        return {}
    return {case: (verdict["behavior"], verdict["behaviorClose"]) for case, verdict in report.items()}


def read_stored(path):
    if not os.path.exists(path):
        return {}
    with open(path) as stored:
        rows = (line.rstrip("\n").split("\t") for line in stored)
        return {case: (behavior, close) for case, behavior, close in rows}


def rows(verdicts):
    return ["\t".join((case, *verdicts[case])) + "\n" for case in sorted(verdicts, key=order)]


def verdicts(out, code, stored_path, update):
    got, want, stored = seen(out), planned(out), read_stored(stored_path)
    groups = {group(case) for case in (*want, *got)}
    if update:
        others = {case: verdict for case, verdict in stored.items() if group(case) not in groups}
        stored = {**others, **got}
        with open(stored_path, "w") as file:
            file.writelines(rows(stored))

    expected = {case: verdict for case, verdict in stored.items() if group(case) in groups}
    bad = {case for case, verdict in got.items() if not GOOD.issuperset(verdict)}
    missing = {case for case in (*want, *expected) if case not in got}
    changed = {case for case in got if got[case] != expected.get(case)}
    counts = collections.Counter(behavior for behavior, _ in got.values())
    print("conformance: " + ", ".join(f"{count} {name}" for name, count in sorted(counts.items())))
    for case in sorted(bad, key=order):
        print(f"conformance: {case} is {got[case][0]}, its close {got[case][1]}")
    if changed or missing:
        diff = list(difflib.unified_diff(rows(expected), rows(got), stored_path, "this run", n=0))
        sys.stdout.writelines(diff[:DIFF_LINES])
        if len(diff) > DIFF_LINES:
            print(f"... and {len(diff) - DIFF_LINES} more lines")
    if missing:
        print(f"conformance: {len(missing)} without a verdict")
    incomplete = code != "0" or not want
    if incomplete or missing:
        print(f"conformance: the fuzzingclient ended with code {code}; last lines of its log:")
        with open(os.path.join(out, "log"), errors="replace") as log:
            print("".join("  " + line[:200].rstrip() + "\n" for line in log.readlines()[-5:]), end="")
    failed = max(len(bad | missing | changed), int(incomplete))
    print(f"conformance: {len(got.keys() - bad - changed)} passed, {failed} failed")
    return failed == 0


if __name__ == "__main__":
    if sys.argv[1] == "spec":
        spec(*sys.argv[2:])
    else:
        sys.exit(not verdicts(*sys.argv[2:5], update="--update" in sys.argv[5:]))
