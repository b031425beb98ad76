#!/usr/bin/python3
"""runc, which gives no process a lower chance to be killed than its parent has: that takes a right that root lacks in many containers."""

import json
import os
import sys

words = sys.argv[1:]
if "create" in words and "--bundle" in words:
    path = os.path.join(words[words.index("--bundle") + 1], "config.json")
    with open(path, encoding="utf-8") as file:
        config = json.load(file)
    if config["process"].get("oomScoreAdj", 0) < 0:
        config["process"]["oomScoreAdj"] = 0
        with open(path, "w", encoding="utf-8") as file:
            json.dump(config, file)
os.execvp("runc", ["runc", *words])
