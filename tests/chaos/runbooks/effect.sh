# What a step does to the world: lines in one file outside of runward, each durable before the step goes on.
effect() {
  printf '%s %s %s %s %s %s\n' "$1" "$RUNWARD_RUN_ID" "$RUNWARD_STEP" "$RUNWARD_GENERATION" "$RUNWARD_FENCE" \
    "$RUNWARD_WORKSPACE" >> "$EFFECTS"
  sync -d "$EFFECTS"
}

# So many fifths of a second of it.
work() {
  effect start
  for ((i = 0; i < $1; i++)); do
    sleep 0.2
    effect tick
  done
  effect end
}
