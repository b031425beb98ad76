#!/usr/bin/env python3
"""Measures what a bad night costs in a cluster: workers killed, a host gone, Redis and Postgres taken away.

Times are read off the ledger, in whole milliseconds; what steps did, off a file of theirs that runward never reads.
It takes about five minutes.

  bench/nights.py [--hints 10000] [--only adopt,gone,redis,postgres,hints] [--save] [--binary target/release/runward]
"""

import argparse
import collections
import concurrent.futures
import contextlib
import os
import pathlib
import signal
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from bench import ROOT, machine  # noqa: E402
from cluster import Cluster, Redis, runbook, tell, until  # noqa: E402


def now():
    """As the ledger says it: milliseconds since 1970."""
    return time.time() * 1000


def effects(path):
    """What steps wrote into their file, as `RUN STEP WHEN`, counted by run and step."""
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return collections.Counter(tuple(line.split()[:2]) for line in lines)


def processes(state):
    """Every process of a host: they all carry its state folder, or are below one that does."""
    found, parents = set(), {}
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if b"RUNWARD_STATE=" + os.fsencode(state) + b"\0" in (entry / "environ").read_bytes():
                found.add(int(entry.name))
        except (OSError, ValueError):
            continue
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def adopt(cluster, folder, rows):
    """The worker dies while a step without `retry` runs, and is started anew a second later."""
    took, whole = [], 0
    book = runbook(folder, "adopted", f"""steps:
  - id: a
    run: |
      echo "$RUNWARD_RUN_ID a" >> {folder}/adopted.log
      for n in $(seq 60); do echo "line $n"; sleep 0.1; done
""")
    worker = cluster.start("worker1", "worker", "--concurrency", "4")
    for turn in range(cluster.args.rounds):
        run = cluster.say("run", book, "--detach", "--key", f"adopt-{turn}")
        until(lambda: len(effects(folder / "adopted.log")) == turn + 1, "the step to begin")
        time.sleep(2)
        worker.kill()
        worker.wait()
        cluster.members.remove(worker)
        time.sleep(1)
        began = now()
        worker = cluster.start("worker1", "worker", "--concurrency", "4")
        cluster.finished("adopted", turn + 1, pause=0.1)
        took.append(int(cluster.ask(f"SELECT at FROM events WHERE run_id = '{run}' AND kind = 'attempt_adopted'")) - began)
        log = cluster.output("logs", run)
        whole += all(f"line {n}\n" in log for n in range(1, 61)) and log.count("line ") == 60
    starts = sum(effects(folder / "adopted.log").values())
    rows.append([f"worker killed in a step, {len(took)} times: adopted after its restart", f"{max(took):.0f} ms at most",
                 f"{starts} starts, {whole} logs of 60 lines whole", f"<= 2 s, {len(took)} starts, {len(took)} whole"])
    cluster.stop_members()


def gone(cluster, folder, rows):
    """Every process of a host dies, and the host does not come back; another one has the same label."""
    shapes = {"again": "retry: {attempts: 2}", "once": "lease: strict", "detached": ""}
    books = {name: runbook(folder, name, f"""steps:
  - id: a
    {extra}
    run: |
      echo "$RUNWARD_RUN_ID a $(date +%s%3N)" >> {folder}/{name}.log
      sleep $([ "$(wc -l < {folder}/{name}.log)" = 1 ] && echo 600 || echo 0)
""") for name, extra in shapes.items()}
    cluster.start("server1", "server")
    cluster.start("worker1", "worker", "--concurrency", "4")
    runs = {name: cluster.say("run", book, "--detach") for name, book in books.items()}
    until(lambda: all(effects(folder / f"{name}.log") for name in shapes), "the steps to begin")
    lost_host = processes(cluster.folder / "worker1")
    began = now()
    for what in [signal.SIGSTOP, signal.SIGKILL]:  # all at once: nobody sees another one die
        for pid in lost_host:
            with contextlib.suppress(ProcessLookupError):  # it may die with one that was killed before
                os.kill(pid, what)
    cluster.members.pop().wait()
    cluster.start("worker2", "worker", "--concurrency", "4")
    cluster.finished("again", 1)
    second = int((folder / "again.log").read_text().split()[5])
    rows.append(["host gone: a step with `retry` begins elsewhere", f"{(second - began) / 1000:.1f} s",
                 f"{effects(folder / 'again.log').total()} starts", "<= 45 s"])
    step = f"SELECT status, ended_at FROM steps WHERE run_id = '{runs['once']}'"
    until(lambda: cluster.ask(step).startswith("lost"), "the strict step to be lost", 0.2)
    rows.append(["host gone: a step without is `lost`", f"{(int(cluster.ask(step).split('|')[1]) - began) / 1000:.1f} s",
                 f"{effects(folder / 'once.log').total()} start", "1 start"])
    shown = cluster.output("show", runs["detached"])
    rows.append(["host gone: a step without, which may go on unseen (`detached`)", "unreachable" if "unreachable" in shown else "not told",
                 f"{effects(folder / 'detached.log').total()} start", "visible, 1 start"])
    cluster.say("cancel", runs["detached"])
    cluster.stop_members()


class Stream:
    """Triggers a run of one step every 100 ms until it is told to stop."""

    def __init__(self, cluster, name, book):
        self.cluster, self.name, self.book, self.count, self.over = cluster, name, book, 0, threading.Event()
        self.thread = threading.Thread(target=self.work)
        self.thread.start()

    def work(self):
        while not self.over.wait(0.1):
            self.cluster.say("run", self.book, "--detach", "--key", f"{self.name}-{self.count}")
            self.count += 1

    def end(self):
        self.over.set()
        self.thread.join()
        self.cluster.finished(self.name, self.count, pause=0.1)
        return self.count

    def slowest(self, since, until):
        """From trigger to start, of all that were triggered within that time."""
        sql = ("SELECT coalesce(max(a.started_at - r.created_at), -1), count(*) FROM runs r JOIN attempts a ON a.run_id = r.id "
               f"WHERE r.name = '{self.name}' AND r.created_at BETWEEN {since:.0f} AND {until:.0f}")
        worst, count = self.cluster.ask(sql).split("|")
        return int(worst), int(count)


def redis(cluster, folder, rows):
    """Redis is emptied, frozen, started anew and switched off while runs come in."""
    cluster.start("server1", "server")
    cluster.start("worker1", "worker", "--concurrency", "16")
    stream = Stream(cluster, "redis", runbook(folder, "redis", "steps: [{id: a, run: 'true'}]\n"))
    spans = {}

    def phase(name, seconds, before=lambda: None):
        began = now()
        before()
        time.sleep(seconds)
        spans[name] = (began, now())

    def start_anew():
        cluster.redis.stop()
        cluster.redis = Redis(folder / "redis", new=False)

    phase("all is well", 5)
    phase("FLUSHALL", 5, lambda: cluster.redis.ask("flushall"))
    phase("SIGSTOP for 5 s", 5, lambda: cluster.redis.process.send_signal(signal.SIGSTOP))
    phase("after SIGSTOP", 5, lambda: cluster.redis.process.send_signal(signal.SIGCONT))
    phase("killed and started anew", 5, start_anew)
    phase("off for a minute", 60, lambda: cluster.redis.stop())
    phase("after that minute", 10, lambda: setattr(cluster, "redis", Redis(folder / "redis", new=False)))
    count = stream.end()
    for name, span in spans.items():
        worst, some = stream.slowest(*span)
        rows.append([f"Redis: {name}", f"{worst} ms from trigger to start at most", f"{some} runs", "<= 5 s"])
    rows.append(["Redis: all of them", f"{count} triggered", f"{count} finished", "every run finishes"])
    cluster.stop_members()


def postgres(cluster, folder, rows):
    """Postgres is stopped with -m immediate in the middle of 200 runs, and started anew."""
    book = runbook(folder, "through", "steps:" + "".join(f"""
  - id: {step}
    run: |
      sleep 0.1
      echo "$RUNWARD_RUN_ID {step}" >> {folder}/through.log
""" for step in "ab"))
    for number in range(200):
        cluster.say("run", book, "--detach", "--key", f"through-{number}")
    cluster.start("server1", "server")
    cluster.start("worker1", "worker", "--concurrency", "8")
    cluster.start("worker2", "worker", "--concurrency", "8")
    done = "SELECT count(*) FROM runs WHERE name = 'through' AND status = 'succeeded'"
    until(lambda: int(cluster.ask(done) or 0) >= 50, "50 of 200 runs", 0.05)
    before = int(cluster.ask(done))
    cluster.postgres.stop_at_once()
    time.sleep(3)
    began = now()
    cluster.postgres.begin()
    cluster.finished("through", 200, pause=0.2)
    first = int(cluster.ask(f"SELECT min(at) FROM events WHERE at > {began:.0f}")) - began
    seen = effects(folder / "through.log")
    rows.append(["Postgres stopped with -m immediate: progress after its start", f"{first / 1000:.2f} s",
                 f"{before} of 200 runs were over", "<= 5 s"])
    rows.append(["Postgres: effects of the 200 runs of two steps", f"{seen.total()} starts", f"{len(seen)} distinct", "400, 400"])
    cluster.stop_members()


def hints(cluster, folder, rows):
    """Real hints that nobody takes, and as many that mean nothing; then a worker comes."""
    count, book = cluster.args.hints, runbook(folder, "hinted", "steps: [{id: a, run: 'true'}]\n")
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: cluster.say("run", book, "--detach", "--key", f"hint-{number}"), range(count)))
    lists = [key for key in cluster.redis.ask("--scan", "--pattern", "*active*").splitlines() if key]
    if not lists:
        sys.exit("no hint is in Redis")
    for first in range(0, count, 500):
        cluster.redis.ask("rpush", lists[0], *(f"junk.{number}" for number in range(first, min(first + 500, count))))
    full = cluster.redis.memory()
    cluster.start("server1", "server")
    began = time.monotonic()
    cluster.start("worker1", "worker", "--concurrency", "16")
    cluster.finished("hinted", count, pause=0.5)
    rows.append([f"{count:,} hints and {count:,} that mean nothing, then a worker", f"{time.monotonic() - began:.1f} s until all had finished",
                 f"Redis {full} before", "every run finishes"])
    time.sleep(5)
    rows.append(["Redis after that", cluster.redis.memory(), f"{cluster.redis.ask('dbsize')} keys", "a few MB"])
    cluster.stop_members()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hints", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5, help="how often a worker is killed")
    parser.add_argument("--only", default="adopt,gone,redis,postgres,hints")
    parser.add_argument("--save", action="store_true", help="write bench/NIGHTS.md")
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "target/release/runward")
    args = parser.parse_args()
    before, rows = machine(), []
    parts = {part.__name__: part for part in [adopt, gone, redis, postgres, hints]}
    for name in args.only.split(","):
        with tempfile.TemporaryDirectory(prefix="runward-night-") as root:
            folder = pathlib.Path(root)
            folder.chmod(0o755)
            cluster, seen = Cluster(args, folder), len(rows)
            try:
                parts[name](cluster, folder, rows)
            finally:
                cluster.stop()
        for row in rows[seen:]:
            print(" | ".join(row), file=sys.stderr)
    title, head = "Bad nights in a cluster on one machine", ["what happens", "runward", "beside it", "target"]
    tell(title, head, rows, args.save and "NIGHTS.md", before)


if __name__ == "__main__":
    main()
