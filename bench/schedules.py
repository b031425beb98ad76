#!/usr/bin/env python3
"""Measures how late schedules fire: all of them at the same minute, by the real clock.

Two worlds, one after the other: three servers and a worker on a temporary Postgres and Redis, and one embedded server on
SQLite. For each tick: how long after its minute it was decided, and its step began, by the ledger; both are times of one clock,
in whole milliseconds. The floor is the same number of shells, 16 at a time.

  bench/schedules.py [--minutes 5] [--save] [--binary target/release/runward]
"""

import argparse
import datetime
import json
import os
import pathlib
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from bench import ROOT, SHELL, machine  # noqa: E402
from cluster import Cluster, until  # noqa: E402

SERVERS, CLUSTER, EMBEDDED = 3, 500, 100
# Of each tick: its minute, when it was decided, when its run was recorded, when its step began.
TICKS = ("SELECT t.at, t.decided_at, r.created_at, a.started_at FROM ticks t LEFT JOIN runs r ON r.id = t.run_id "
         "LEFT JOIN attempts a ON a.run_id = r.id")


def runbooks(folder, count):
    folder.mkdir(parents=True)
    for number in range(count):
        (folder / f"r{number}.yaml").write_text(
            "on: {schedule: [{id: s, cron: '* * * * *', overlap: allow}]}\nsteps: [{id: a, run: 'true'}]\n")


def floor(count):
    loop = "for i in $(seq %d); do (( i > 16 )) && wait -n; %s & done; wait" % (count, " ".join(SHELL))
    began = time.perf_counter()
    subprocess.run(["bash", "-c", loop], check=True)
    return (time.perf_counter() - began) * 1000


def settle(minutes, taken_up):
    """Until everything is taken up and so many minutes have come, and a bit."""
    until(taken_up, "the schedules to be taken up")
    time.sleep(60 - time.time() % 60 + 60 * (minutes - 1) + 25)


def row(what, ticks, count, minutes, target):
    """The lines of TICKS as numbers."""
    runs = [tick for tick in ticks if all(value is not None for value in tick)]
    minute = sorted({tick[0] for tick in runs})
    if len(runs) != len(ticks) or len(runs) != count * len(minute) or len(minute) < minutes:
        sys.exit(f"{what}: {len(ticks)} ticks of {len(minute)} minutes, {len(runs)} of them with a step that began")

    def shown(place):
        late = sorted(tick[place] - tick[0] for tick in runs)
        return f"{late[len(late) // 2]} / {late[int(len(late) * 0.99)]} / {late[-1]} ms"
    return [what, f"{len(minute)} x {count}", shown(1), shown(3), f"{floor(count):.0f} ms", target]


def in_a_cluster(args, folder):
    cluster = Cluster(args, folder)
    try:
        runbooks(folder / "runbooks", CLUSTER)
        os.chdir(folder)
        cluster.start("worker1", "worker", "--concurrency", "16")
        for number in range(SERVERS):
            cluster.start(f"server{number + 1}", "server")
        settle(args.minutes, lambda: cluster.ask("SELECT count(*) FROM posted") == str(SERVERS * CLUSTER))
        lines = cluster.ask(TICKS).splitlines()
        ticks = [[int(value) if value else None for value in line.split("|")] for line in lines]
        return row(f"{SERVERS} servers, a worker, Postgres and Redis", ticks, CLUSTER, args.minutes, "decided: p99 <= 1 s")
    finally:
        cluster.stop()


def embedded(args, folder):
    runbooks(folder / "runbooks", EMBEDDED)
    state = folder / "state"
    log = open(folder / "server.log", "w")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RUNWARD_")}
    server = subprocess.Popen([str(args.binary), "server"], cwd=folder, stdout=log, stderr=log,
                              env={**environment, "RUNWARD_STATE": str(state)})
    try:
        settle(args.minutes, lambda: "took up what the files say" in (folder / "server.log").read_text())
        with sqlite3.connect(f"file:{state}/ledger.db?mode=ro", uri=True) as ledger:
            ticks = [list(tick) for tick in ledger.execute(TICKS)]
        return row("one server, SQLite", ticks, EMBEDDED, args.minutes, "decided: p99 <= 200 ms")
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=5)
    parser.add_argument("--only", choices=["cluster", "embedded"])
    parser.add_argument("--save", action="store_true", help="write bench/SCHEDULES.md")
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "target/release/runward")
    args = parser.parse_args()
    args.binary = args.binary.resolve()
    before, rows = machine(), []
    for name, work in [("cluster", in_a_cluster), ("embedded", embedded)]:
        if args.only in (None, name):
            with tempfile.TemporaryDirectory(prefix="runward-bench-") as folder:
                os.chmod(folder, 0o755)
                rows.append(work(args, pathlib.Path(folder)))
                os.chdir(ROOT)
            print(json.dumps(rows[-1]), file=sys.stderr)
    head = ["world", "minutes x schedules", "decided after its minute, p50 / p99 / max", "step began, p50 / p99 / max",
            "floor: as many shells", "target"]
    text = "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *rows])
    print(text)
    if args.save:
        commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
        note = f"{datetime.date.today().isoformat()}, {commit.stdout.strip()}. {before}."
        (ROOT / "bench/SCHEDULES.md").write_text(f"# How late schedules fire\n\n{note}\n\n{text}\n")


if __name__ == "__main__":
    main()
