#!/usr/bin/env python3
"""Measures runward beside what the machine itself can do, in one run.

Every row is a piece of work done by runward and by its floors (make, bash, a bare posix_spawn loop, a bare synced
SQLite commit), in turn, round after round, so that a busy moment hits all of them. What counts is the ratio of the
medians. Nothing is kept but the table: the state folders lie in a temporary folder of the file system under test.

  bench/bench.py [--rounds 15] [--only chain] [--long] [--save] [--binary target/release/runward] [--dir DIR]
"""

import argparse
import datetime
import os
import pathlib
import platform
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHELL = ["bash", "-euo", "pipefail", "-c", "true"]
OUTPUT_BYTES = 100_000_000


def step(name, needs, run="true"):
    return f"  - {{id: {name}, needs: [{', '.join(needs)}], run: '{run}'}}\n"


def chain(length):
    names = [f"s{n}" for n in range(length)]
    return names, {name: names[max(0, n - 1):n] for n, name in enumerate(names)}


def fan(width):
    middle = [f"m{n}" for n in range(width)]
    needs = {"first": [], **{name: ["first"] for name in middle}, "last": middle}
    return list(needs), needs


def write_graph(folder, name, names, needs, lanes):
    """The same graph as a runbook and as a Makefile; every step is `true` through the same shell."""
    book = folder / f"{name}.yaml"
    book.write_text(f"max-parallel: {lanes}\nsteps:\n" + "".join(step(n, needs[n]) for n in names))
    rules = "".join(f"{n}: {' '.join(needs[n])}\n\t@{' '.join(SHELL)}\n" for n in names)
    (folder / f"{name}.mk").write_text(f"all: {names[-1]}\n.PHONY: all {' '.join(names)}\n{rules}")
    return book


def run(argv):
    """Wall time in seconds."""
    began = time.perf_counter()
    done = subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    took = time.perf_counter() - began
    if done.returncode != 0:
        sys.exit(f"{argv} ended with {done.returncode}: {done.stderr.decode(errors='replace')}")
    return took


class Bench:
    def __init__(self, args, folder):
        self.args, self.folder, self.rows = args, folder, []
        self.state = folder / "state"

    def runward(self, book):
        return [str(self.args.binary), "--state", str(self.state), "run", str(book), "--quiet"]

    def wanted(self, name):
        return self.args.only is None or self.args.only in name

    def compare(self, name, target, contestants, peak_mib="", rounds=None):
        """`contestants`: label and function to a time, the first one runward's, the second the floor of the target."""
        if not self.wanted(name):
            return
        times = {label: [] for label, _ in contestants}
        for turn in range((rounds or self.args.rounds) + 1):
            for label, work in contestants:
                took = work()
                if turn > 0:  # the first turn warms the caches of all
                    times[label].append(took)
        medians = {label: statistics.median(values) for label, values in times.items()}
        ours, floor = contestants[0][0], contestants[1][0] if len(contestants) > 1 else None
        for label, values in times.items():
            ratio = f"{medians[label] / medians[floor]:.2f}" if floor else ""
            figures = [f"{1000 * t:.1f}" for t in (medians[label], min(values), max(values))]
            rest = [peak_mib, target] if label == ours else ["", ""]
            self.rows.append([name, label, *figures, ratio, *rest])
        print(f"{name}: " + ", ".join(f"{k} {1000 * v:.1f} ms" for k, v in medians.items()), file=sys.stderr)

    def graph(self, name, target, names, needs, lanes, rounds=None):
        if not self.wanted(name):
            return
        book = write_graph(self.folder, name, names, needs, lanes)
        make = ["make", "-s", f"-j{lanes}", "-f", str(self.folder / f"{name}.mk")]
        contestants = [
            ("runward", lambda: run(self.runward(book))),
            (f"make -j{lanes}", lambda: run(make)),
            ("posix_spawn, one by one", lambda: self.spawn(len(names))),
        ]
        self.compare(name, target, contestants, self.peak(book), rounds)

    def spawn(self, count):
        """The same number of shells, started and waited for one after the other by this process."""
        shell = shutil.which(SHELL[0])
        began = time.perf_counter()
        for _ in range(count):
            os.waitpid(os.posix_spawn(shell, SHELL, os.environ), 0)
        return time.perf_counter() - began

    def commit(self, commits=200):
        """Synced commits of one row with plain SQLite, in WAL mode: the floor of anything that remembers."""
        path = self.folder / "floor.db"
        ledger = sqlite3.connect(path, isolation_level=None)
        ledger.execute("PRAGMA journal_mode=WAL")
        ledger.execute("PRAGMA synchronous=FULL")
        ledger.execute("CREATE TABLE IF NOT EXISTS t (a INTEGER PRIMARY KEY, b TEXT)")
        began = time.perf_counter()
        for _ in range(commits):
            ledger.execute("INSERT INTO t (b) VALUES (?)", ("x" * 500,))
        took = time.perf_counter() - began
        ledger.close()
        return took / commits

    def output(self):
        work = f"head -c {OUTPUT_BYTES} /dev/zero"
        book = self.folder / "output.yaml"
        book.write_text(f"steps:\n  - id: prints\n    run: {work}\n")
        target = self.folder / "plain"
        contestants = [
            ("runward", lambda: run(self.runward(book))),
            ("bash > file", lambda: run(["bash", "-c", f"{work} > {target}"])),
        ]
        self.compare("100 MB of output", "<= 1.5 x bash > file, <= 32 MiB", contestants, self.peak(book))

    def peak(self, book):
        """The most memory any of runward's own processes had in one run that is not timed: driver, supervisor, subreaper."""
        found, done = [0.0], threading.Event()

        def look():
            while not done.wait(0.005):
                own = [entry.name for entry in os.scandir("/proc") if entry.name.isdigit()]
                found[0] = max([found[0], *(high_water(pid, str(self.state).encode()) for pid in own)])

        watcher = threading.Thread(target=look)
        watcher.start()
        # What wait4 says of a child begins with the memory of whoever started it, so `time` stands between.
        timed = subprocess.run(["time", "-f", "%M", *self.runward(book)], capture_output=True, text=True, check=True)
        done.set()
        watcher.join()
        return f"{max(found[0], int(timed.stderr.split()[-1]) / 1024):.1f}"


def high_water(pid, marker):
    """VmHWM in MiB of a process whose command line names the state folder, else 0."""
    try:
        if marker not in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes():
            return 0.0
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM:")), 0.0)


def machine():
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    load = " ".join(f"{value:.2f}" for value in os.getloadavg())
    return f"{os.cpu_count()} x {cpu}, Linux {platform.release()}, load {load}"


def table(rows):
    head = ["work", "by", "median ms", "min", "max", "x floor", "peak MiB", "target"]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", help="rows whose name contains this")
    parser.add_argument("--long", action="store_true", help="also 1 -> 1,000 -> 1 and a chain of 1,000")
    parser.add_argument("--save", action="store_true", help="write bench/RESULTS.md")
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "target/release/runward")
    parser.add_argument("--dir", type=pathlib.Path, default=None, help="file system to measure on")
    args = parser.parse_args()
    for program in ["time", "make"]:
        if not shutil.which(program):
            sys.exit(f"{program} is missing: apt-get install {program}")
    if not args.binary.exists():
        sys.exit(f"{args.binary} is missing: cargo build --release")
    before = machine()
    with tempfile.TemporaryDirectory(prefix="runward-bench-", dir=args.dir) as folder:
        bench = Bench(args, pathlib.Path(folder))
        names, needs = chain(1)
        bench.graph("one step, cold", "<= 20 ms, <= 20 MiB", names, needs, 1)
        names, needs = chain(40)
        bench.graph("chain of 40", "<= 1.6 x make", names, needs, 1)
        names, needs = fan(100)
        bench.graph("1 -> 100 -> 1", "<= 1.5 x make", names, needs, 16)
        bench.output()
        bench.compare("a synced commit", "", [("SQLite, one row", bench.commit)])
        if args.long:
            names, needs = fan(1000)
            bench.graph("1 -> 1,000 -> 1", "<= 1.5 x make", names, needs, 16, rounds=5)
            names, needs = chain(1000)
            bench.graph("chain of 1,000", "", names, needs, 1, rounds=3)
    text = table(bench.rows)
    print(text)
    if args.save:
        commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
        date = datetime.date.today().isoformat()
        note = f"{date}, {commit.stdout.strip()}. {before}; at the end {machine().rsplit(', ', 1)[1]}."
        (ROOT / "bench/RESULTS.md").write_text(f"# Results\n\n{note}\n{args.rounds} interleaved rounds.\n\n{text}\n")


if __name__ == "__main__":
    main()
