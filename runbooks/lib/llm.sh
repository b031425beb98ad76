# Sourced by llm_triage.yaml. `ask PATH [CURL OPTIONS]`: the answer is in the file `answer`, its head in `head`. 75 is "ask again".
ask() {
  local path=$1 status
  shift
  # The key comes by standard input: what stands in a command line, everybody on this machine can read.
  status=$(printf 'header = "Authorization: Bearer %s"\nheader = "content-type: application/json"\n' "$LLM_KEY" |
    curl --config - --silent --show-error --max-time 120 --dump-header head --output answer --write-out '%{http_code}' "$@" "$URL$path") ||
    { echo "error: $URL cannot be reached" >&2; exit 75; }
  case $status in
    200) return ;;
    401 | 403) echo "error: $URL does not accept the key ($status): runward secret set llm_key" >&2; exit 1 ;;
    429 | 5??)
      # Both are 429: too many at once is over soon, a quota that is used up is not.
      if grep -q insufficient_quota answer; then echo "error: the quota is used up: $(head -c 300 answer)" >&2; exit 1; fi
      echo "error: $URL is busy ($status): $(head -c 300 answer)" >&2
      exit 75
      ;;
    *) echo "error: $URL answered $status: $(head -c 300 answer)" >&2; exit 1 ;;
  esac
}
