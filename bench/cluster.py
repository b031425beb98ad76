#!/usr/bin/env python3
"""Measures a cluster on this machine: a temporary Postgres and Redis, one server and workers, all with what they sync.

Latencies are read off the ledger, and off Redis, which says when it was given a hint: all of them times of this machine,
those of the ledger in whole milliseconds. Its floors (a bash loop, make) run in turn with it.

  bench/cluster.py [--runs 200] [--rounds 5] [--save] [--binary target/release/runward]
"""

import argparse
import contextlib
import datetime
import json
import os
import pathlib
import pwd
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from bench import ROOT, SHELL, machine  # noqa: E402

PATIENCE = 300


def owner():
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    sys.exit("there is neither a user postgres nor nobody")


class Postgres:
    def __init__(self, folder):
        found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parts[4]))
        self.bin, self.folder = found[-1] if found else pathlib.Path(shutil.which("postgres")).parent, folder
        folder.mkdir()
        self.user = owner()
        os.chown(folder, self.user.pw_uid, self.user.pw_gid)
        data = folder / "data"
        self.call("initdb", "-D", data, "-U", "runward", "-A", "trust", "--no-sync", "--no-instructions")
        self.begin()
        self.ask("postgres", "CREATE DATABASE bench")
        self.url = f"postgres:///bench?host={folder}&user=runward"

    def begin(self):
        options = ["-D", self.folder / "data", "-k", self.folder, "-c", "listen_addresses=", "-c", "max_connections=200"]
        self.process = subprocess.Popen(
            self.words("postgres", *options), stdout=open(self.folder / "log", "a"), stderr=subprocess.STDOUT)
        until(lambda: self.ask("postgres", "SELECT 1") == "1", "Postgres")

    def words(self, program, *arguments):
        as_user = [] if os.getuid() else [
            "setpriv", "--reuid", str(self.user.pw_uid), "--regid", str(self.user.pw_gid), "--clear-groups", "--"]
        return [*as_user, str(self.bin / program), *map(str, arguments)]

    def call(self, *words):
        subprocess.run(self.words(*words), check=True, stdout=subprocess.DEVNULL)

    def ask(self, database, sql):
        words = [str(self.bin / "psql"), "-XAtq", "-h", str(self.folder), "-U", "runward", "-d", database, "-c", sql]
        return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()

    def stop(self, how=signal.SIGINT):
        self.process.send_signal(how)
        self.process.wait()

    def stop_at_once(self):
        """As `pg_ctl stop -m immediate`."""
        self.stop(signal.SIGQUIT)


class Redis:
    def __init__(self, folder, new=True):
        folder.mkdir(exist_ok=not new)
        self.socket = folder / "redis.sock"
        words = ["redis-server", "--port", "0", "--unixsocket", str(self.socket), "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL, cwd=folder)
        until(lambda: self.ask("ping") == "PONG", "Redis")
        self.url = f"redis+unix://{self.socket}"

    def ask(self, *words):
        done = subprocess.run(["redis-cli", "-s", str(self.socket), *words], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    def memory(self):
        return self.ask("info", "memory").split("used_memory_human:")[1].split()[0]

    def watch(self, log):
        """Says of everything that is asked of it when that was."""
        return subprocess.Popen(["redis-cli", "-s", str(self.socket), "monitor"], stdout=log)

    def stop(self):
        self.process.kill()
        self.process.wait()


def until(true, what, pause=0.02):
    gave_up = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > gave_up:
            sys.exit(f"{what}: not within {PATIENCE} s")
        time.sleep(pause)


class Cluster:
    def __init__(self, args, folder):
        self.args, self.folder = args, folder
        self.postgres, self.redis = Postgres(folder / "postgres"), Redis(folder / "redis")
        self.members = []
        self.say("db", "migrate")

    def environment(self, state):
        return {**os.environ, "RUNWARD_STATE": str(self.folder / state), "RUNWARD_DATABASE_URL": self.postgres.url,
                "RUNWARD_REDIS_URL": self.redis.url}

    def output(self, *words):
        done = subprocess.run([str(self.args.binary), *words], env=self.environment("person"), capture_output=True,
                              text=True, check=False, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            sys.exit(f"{words}: {done.returncode}: {done.stderr}")
        return done.stdout

    def say(self, *words):
        return (self.output(*words).split() or [""])[-1]

    def start(self, name, *words):
        log = open(self.folder / f"{name}.log", "a")
        member = subprocess.Popen([str(self.args.binary), *words], env=self.environment(name), stdout=log, stderr=log)
        self.members.append(member)
        return member

    def stop_members(self):
        for member in self.members:
            member.send_signal(signal.SIGTERM)
        for member in self.members:
            member.wait()
        self.members.clear()

    def ask(self, sql):
        return self.postgres.ask("bench", sql)

    def finished(self, name, count, pause=0.02):
        sql = f"SELECT count(*) FROM runs WHERE name = '{name}' AND status = 'succeeded'"
        until(lambda: self.ask(sql) == str(count), f"{count} runs of {name}", pause)

    def stop(self):
        self.stop_members()
        self.redis.stop()
        self.postgres.stop()


def runbook(folder, name, text):
    path = folder / f"{name}.yaml"
    path.write_text(f"name: {name}\n{text}")
    return str(path)


class Pausing:
    """Triggers, and ends only when it is let: a pipe that is full holds it where it would say the id of the run."""

    def __init__(self, cluster, book, key):
        self.reading, writing = os.pipe()
        os.set_blocking(writing, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writing, b"." * 4096)
        os.set_blocking(writing, True)
        words = [str(cluster.args.binary), "run", book, "--detach", "--key", key]
        self.process = subprocess.Popen(words, env=cluster.environment("person"), stdin=subprocess.DEVNULL, stdout=writing)
        os.close(writing)

    def end(self):
        with open(self.reading, "rb") as pipe:
            pipe.read()
        if self.process.wait() != 0:
            sys.exit("a trigger failed")


def latency(cluster, folder, rows):
    """One run after the other, each when the one before is over."""
    cluster.start("worker1", "worker", "--concurrency", "16")
    target = "p50 <= 5 ms, p99 <= 25 ms"
    for name, what in [("one", "whoever triggered it waits"), ("other", "whoever triggered it ends meanwhile")]:
        book, count = runbook(folder, name, "steps: [{id: a, run: 'true'}]\n"), cluster.args.runs
        with open(folder / "monitor", "w") as log:
            watcher = cluster.redis.watch(log)
            for number in range(count + 5):
                if name == "one":
                    trigger = Pausing(cluster, book, f"{name}-{number}")
                else:
                    cluster.say("run", book, "--detach", "--key", f"{name}-{number}")
                time.sleep(0.1)  # whoever looks takes one of two cores
                cluster.finished(name, number + 1)
                if name == "one":
                    trigger.end()
            watcher.kill()
            watcher.wait()
        hinted = {}
        for at, run in re.findall(r'^([0-9.]+) .*?"([0-9a-f-]{36})\.\d+"', (folder / "monitor").read_text(), re.MULTILINE):
            hinted.setdefault(run, float(at) * 1000)
        sql = ("SELECT r.id, a.started_at, r.created_at, r.finished_at FROM runs r JOIN attempts a ON a.run_id = r.id "
               f"WHERE r.name = '{name}' ORDER BY r.id OFFSET 5")
        times = [(run, *map(int, rest)) for run, *rest in (line.split("|") for line in cluster.ask(sql).splitlines())]
        for of, target, values in [
                ("hint to process start", target, [start + 0.5 - hinted[run] for run, start, _, _ in times]),
                ("trigger to process start", "", [start - created for _, start, created, _ in times]),
                ("trigger to finished, one step", "<= 10 ms", [end - created for _, _, created, end in times])]:
            values = sorted(values)
            p50, p99 = statistics.median(values), values[int(len(values) * 0.99)]
            rows.append([f"{of}; {what}", f"{p50:.1f} ms", f"{p99:.1f} ms (p99)", target])
        target = ""
    cluster.stop_members()


def at_once(cluster, folder, rows):
    """200 runs are waiting when the worker starts; beside them 200 shells of a bash loop, 16 at a time.

    The loop is a file: as an argument of `bash -c` the same one misses shells that have ended, waits for others, and has
    fewer than 16 at work.
    """
    ratios, ours, floors, words = [], [], [], []
    book = runbook(folder, "many", "steps: [{id: a, run: 'true'}]\n")
    loop = folder / "loop.sh"
    loop.write_text("for i in $(seq 200); do (( i > 16 )) && wait -n; %s & done; wait\n" % " ".join(SHELL))
    for turn in range(cluster.args.rounds):
        for number in range(200):
            cluster.say("run", book, "--detach", "--key", f"many-{turn}-{number}")
        for seconds, command in [(floors, ["bash", str(loop)]), (words, ["bash", "-c", loop.read_text()])]:
            began = time.perf_counter()
            subprocess.run(command, check=True)
            seconds.append(time.perf_counter() - began)
        cluster.start("worker1", "worker", "--concurrency", "16")
        cluster.finished("many", 200 * (turn + 1), pause=0.5)  # whoever looks takes time of two cores
        sql = f"SELECT max(r.finished_at) - min(a.claimed_at) FROM runs r JOIN attempts a ON a.run_id = r.id WHERE r.key LIKE 'many-{turn}-%'"
        ours.append(int(cluster.ask(sql)) / 1000)
        ratios.append(floors[-1] / ours[-1])
        cluster.stop_members()
    rows.append(["200 one-step runs that wait", f"{1000 * statistics.median(ours):.0f} ms, {200 / statistics.median(ours):.0f} runs/s",
                 f"bash loop {1000 * statistics.median(floors):.0f} ms: {statistics.median(ratios):.2f} x its rate", ">= 0.5 x"])
    rows.append(["", "", f"as `bash -c` {1000 * statistics.median(words):.0f} ms: "
                 f"{statistics.median(words) / statistics.median(ours):.2f} x its rate", ""])


def fan(cluster, folder, rows):
    items = ", ".join(map(str, range(1000)))
    book = runbook(folder, "fan", f"max-parallel: 48\nsteps:\n  - {{id: a, run: 'true'}}\n  - id: b\n    max-parallel: 48\n    for-each: [{items}]\n    run: 'true'\n")
    make = folder / "fan.mk"
    make.write_text("all: " + " ".join(f"m{n}" for n in range(1000)) + "\n" + "".join(f"m{n}:\n\t@{' '.join(SHELL)}\n" for n in range(1000)))
    for worker in range(3):
        cluster.start(f"worker{worker + 1}", "worker", "--concurrency", "16")
    time.sleep(1)
    ours, floors = [], []
    for turn in range(cluster.args.rounds):
        began = time.perf_counter()
        subprocess.run(["make", "-s", "-j16", "-f", str(make)], check=True)
        floors.append(time.perf_counter() - began)
        cluster.say("run", book, "--detach", "--key", f"fan-{turn}")
        cluster.finished("fan", turn + 1, pause=0.5)
        ours.append(int(cluster.ask(f"SELECT finished_at - created_at FROM runs WHERE key = 'fan-{turn}'")) / 1000)
    shares = cluster.ask("SELECT string_agg(c::text, ', ') FROM (SELECT count(*) AS c FROM attempts a JOIN runs r ON r.id = a.run_id "
                         "WHERE r.name = 'fan' GROUP BY a.home) AS by_home")
    rows.append(["1 -> 1,000 over 3 workers", f"{1000 * statistics.median(ours):.0f} ms",
                 f"make -j16 {1000 * statistics.median(floors):.0f} ms; attempts by home: {shares}", ""])
    cluster.stop_members()


def idle(cluster, rows):
    members = [cluster.start("worker1", "worker", "--concurrency", "16"), cluster.start("server1", "server")]
    time.sleep(5)
    before, began = sum(cpu(member.pid) for member in members), time.monotonic()
    time.sleep(cluster.args.idle)
    used = (sum(cpu(member.pid) for member in members) - before) / (time.monotonic() - began)
    memory = sum(resident(member.pid) for member in members)
    rows.append([f"idle worker and server, {cluster.args.idle} s", f"{memory:.1f} MiB", f"{100 * used:.2f} % of a core", "<= 60 MiB, <= 1 %"])
    cluster.stop_members()


def cpu(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS:"))


def tell(title, head, rows, page, before):
    """Prints the table, and writes it into a page of bench/ if there is to be one."""
    text = "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *rows])
    print(text)
    if page:
        commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
        note = f"{datetime.date.today().isoformat()}, {commit.stdout.strip()}. {before}."
        (ROOT / "bench" / page).write_text(f"# {title}\n\n{note}\n\n{text}\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--idle", type=int, default=60)
    parser.add_argument("--only")
    parser.add_argument("--save", action="store_true", help="write bench/CLUSTER.md")
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "target/release/runward")
    parser.add_argument("--dir", type=pathlib.Path, default=None, help="file system to measure on; the user postgres has to get there")
    args = parser.parse_args()
    before, rows = machine(), []
    with tempfile.TemporaryDirectory(prefix="runward-bench-", dir=args.dir) as name:
        folder = pathlib.Path(name).resolve()
        folder.chmod(0o755)
        cluster = Cluster(args, folder)
        try:
            parts = [("latency", lambda: latency(cluster, folder, rows)), ("once", lambda: at_once(cluster, folder, rows)),
                     ("fan", lambda: fan(cluster, folder, rows)), ("idle", lambda: idle(cluster, rows))]
            for part, work in parts:
                if args.only in (None, part):
                    work()
                    print(json.dumps(rows[-6:]), file=sys.stderr)
            rows.append(["Redis afterwards", cluster.redis.memory(), "", "a few MB"])
        finally:
            cluster.stop()
    tell("A cluster on one machine", ["work", "runward", "beside it", "target"], rows, args.save and "CLUSTER.md", before)


if __name__ == "__main__":
    main()
