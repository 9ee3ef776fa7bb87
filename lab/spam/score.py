"""Splits a collection and adds up what filters said of it, for compare.sh.

    score.py split CORPUS SEED TRAIN.index TEST.index
    score.py score FILTER SEED     reads lines "TRUTH VERDICT SCORE"; a higher score is more spam
    score.py mean                  reads what score printed
"""

import bisect
import hashlib
import math
import pathlib
import sys


def split(corpus, seed, train, test):
    """70 in a hundred to learn, in an order by the seed; mails with the same body count once."""
    seen, mails = set(), []
    for folder in sorted(pathlib.Path(corpus).iterdir()):
        words = folder.name.lower().replace("_", "-").split("-")
        label = "spam" if "spam" in words else "ham" if "ham" in words else None
        for path in sorted(folder.iterdir()) if label else []:
            if path.suffix == ".json" or path.name == "cmds":
                continue
            body = path.read_bytes().replace(b"\r\n", b"\n").partition(b"\n\n")[2]
            digest = hashlib.sha256(b" ".join(body.split())).digest()
            if digest not in seen:
                seen.add(digest)
                mails.append(f"{label} {path}\n")
    mails.sort(key=lambda m: hashlib.sha256((seed + m.rsplit("/", 2)[1] + m.rsplit("/", 1)[1]).encode()).digest())
    n = len(mails) * 7 // 10
    pathlib.Path(train).write_text("".join(mails[:n]))
    pathlib.Path(test).write_text("".join(mails[n:]))


def score(name, seed):
    rows = [(float(s), t == "spam", v == "spam") for t, v, s in (line.split() for line in sys.stdin)]
    ham = sorted(s for s, t, _ in rows if not t)
    spam = [s for s, t, _ in rows if t]
    worse = sum(len(ham) - (bisect.bisect_left(ham, s) + bisect.bisect_right(ham, s)) / 2 for s in spam)
    cut = ham[-1 - len(ham) // 1000]
    wrong = sum(v for _, t, v in rows if not t) / len(ham)
    missed = sum(not v for _, t, v in rows if t) / len(spam)
    at = sum(s <= cut for s in spam) / len(spam)
    print(name, seed, *("%.4f" % (100 * x) for x in (wrong, missed, worse / len(ham) / len(spam), at)), flush=True)


def mean():
    rows = {}
    for line in sys.stdin:
        name, _, *figures = line.split()
        rows.setdefault(name, []).append([float(x) for x in figures])
    print("\n%-14s %4s  %-20s %-20s %-20s %s" % ("filter", "runs", "good called spam", "missed", "1-AUC", "missed at 0.1 %"))
    for name, runs in rows.items():
        cells = []
        for column in zip(*runs):
            m, n = sum(column) / len(column), len(column)
            spread = 2 * math.sqrt(sum((x - m) ** 2 for x in column) / (n - 1) / n) if n > 1 else 0
            cells.append("%.4f ± %.4f" % (m, spread))
        print("%-14s %4d  %-20s %-20s %-20s %s" % (name, len(runs), *cells))


{"split": split, "score": score, "mean": mean}[sys.argv[1]](*sys.argv[2:])
