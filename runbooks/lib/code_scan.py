"""code_scan.py REPORT: says what bandit found, and fails for that, or for what it did not look at."""

import json
import os
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    report = json.load(file)
found, unread = report["results"], report["errors"]
for it in found:
    where = f"{it['filename']}:{it['line_number']}"
    print(f"{where}: {it['test_id']} ({it['issue_severity'].lower()}): {it['issue_text']}", file=sys.stderr)
for it in unread:
    print(f"{it['filename']}: not looked at: {it['reason']}", file=sys.stderr)
lines = report["metrics"]["_totals"]["loc"]
with open(os.environ["RUNWARD_OUTPUT"], "a", encoding="utf-8") as outputs:
    outputs.write(f"findings={len(found)}\n")
if found or unread:
    sys.exit(f"error: {len(found)} places to mend, {len(unread)} files that could not be read (above)")
if not lines:
    sys.exit("error: there is no line of code in what was looked at: are source and packages right?")
print(f"{lines} lines of code, nothing found")
