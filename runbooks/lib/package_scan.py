"""package_scan.py REPORT REQUIREMENTS ADVISORIES DAYS_MAX: says what safety found, and fails for that, for a package it left out, and for a
list of advisories that is too old."""

import json
import os
import re
import sys
import time

report, requirements, advisories, days_max = sys.argv[1:]
with open(report, encoding="utf-8") as file:
    found = json.load(file)
with open(requirements, encoding="utf-8") as file:
    lines = [line.split("#")[0].strip() for line in file]
wanted = [line for line in lines if line]
left_out = [line for line in wanted if not re.fullmatch(r"[A-Za-z0-9._-]+(\[[A-Za-z0-9,._-]+\])?==[A-Za-z0-9.!+_-]+( *;.*)?", line)]
with open(os.path.join(advisories, "insecure_full.json"), encoding="utf-8") as file:
    made = json.load(file)["$meta"]["timestamp"]
days = int((time.time() - made) // 86400)

wrong = []
for name, range_, version, advice, number, *_ in found:
    print(f"{name} {version} ({range_}): {number}: {' '.join(advice.split())[:300]}", file=sys.stderr)
if found:
    wrong.append(f"{len({it[0] for it in found})} packages have known holes (above): raise their versions")
for line in left_out:
    print(f"left out: {line}", file=sys.stderr)
if left_out:
    wrong.append(f"{len(left_out)} lines name no version and were not looked at (above): write NAME==VERSION")
if not wanted:
    wrong.append(f"{requirements} names no package")
if days > int(days_max):
    when = time.strftime("%Y-%m-%d", time.gmtime(made))
    wrong.append(f"the list of advisories is of {when}, {days} days old: what was found since is not in it")
with open(os.environ["RUNWARD_OUTPUT"], "a", encoding="utf-8") as outputs:
    outputs.write(f"packages={len(wanted)}\nvulnerable={len({it[0] for it in found})}\ndays={days}\n")
if wrong:
    sys.exit("error: " + "; ".join(wrong))
print(f"{len(wanted)} packages, none with a hole known on the day of the list, {days} days ago")
