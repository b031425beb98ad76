# A script in a file of its own, pinned with the runbook (see environment.yaml).
echo "script $WHO in $(basename "$PWD")" >> "$DIR"/lines
