# The far side of a step with `host`: POSIX sh, coreutils, grep and setsid, on Linux. The same text for every step: what a
# step is given comes over standard input, in lines of letters, digits and \0ooo, which are read as data and never as code.
#
# connect: talks to whoever asked, starts an attempt or follows it. It may die at any time.
# look:    says whether a step could start here, and leaves nothing.
# run:     starts the step, keeps its output, its time and its end. It outlives the connection.
#
# host: a name that this machine, or rather this folder, gave itself once
# attempts/<id>/ made with mkdir: the attempt is decided; whoever finds it never starts it
#   decided, and void | starting: nothing was started and nothing will be | something may have been
#   runner, main: process, its start in ticks of the kernel, its boot;   unit: which step it is of;   workspace: its folder
#   out.N, err.N: output, in pieces;   output: what it wrote to $RUNWARD_OUTPUT;   stop: seconds of grace;   end: how it ended
umask 077
unset CDPATH
piece=4194304 # bytes; of each stream the first 8 pieces are kept, and the last 8
finished_days=7
workspace_days=30
order_seconds=600 # for the whole of an order to arrive

say() { printf '%s\n' "$*"; }

# The ticks at which a process started; nothing if there is none. Its name may hold anything, so from the last parenthesis.
born() {
    IFS= read -r stat <"/proc/$1/stat" || return 1
    set -- ${stat##*) }
    case $1 in Z | X) return 1 ;; esac
    printf '%s\n' "${20}"
} 2>/dev/null

seconds() { IFS=' .' read -r now rest </proc/uptime; }

# Whether the process that a file names is that one, and lives.
lives() {
    read -r pid begun boot 2>/dev/null <"$1" && [ "$boot" = "$this_boot" ] && [ "$(born "$pid")" = "$begun" ]
}

# Does something after so many seconds, in a process of its own, unless that is told to be called off.
later() {
    (
        : & # so that $! is never a process of anybody else
        # Again and again: a process that has not become its program yet hears nothing.
        trap 'while born $! >/dev/null && kill $!; do sleep 0.01; done; exit' TERM
        sleep "$1" &
        shift
        wait $! && "$@"
    ) </dev/null >/dev/null 2>&1 &
}

# A signal that comes while it is still being made is lost.
call_off() { while born "$1" >/dev/null && kill "$1" 2>/dev/null; do sleep 0.01; done; }

# ---------------------------------------------------------------------------------------------------------------- connect

# Greets, and sets $state and $attempts where this machine can carry out a step.
greet() {
    say
    say 'runward far 1'
    for tool in cat chmod date dd env grep head ln mkdir mkfifo mv rm setsid sleep tail touch tr wc; do
        command -v "$tool" >/dev/null || { say "unfit it has no \`$tool\`: install it there"; exit 0; }
    done
    dd if=/dev/null of=/dev/null bs=1 count=1 iflag=count_bytes 2>/dev/null ||
        { say 'unfit its `dd` is not that of GNU coreutils: install coreutils there'; exit 0; }
    [ -r /proc/self/status ] || { say 'unfit it has no /proc: only Linux can be the host of a step'; exit 0; }
    read -r this_boot </proc/sys/kernel/random/boot_id
    state=${XDG_STATE_HOME-}
    case $state in /*) ;; *) state=${HOME-}/.local/state ;; esac
    state=$state/runward
    attempts=$state/attempts
}

unusable() { say "unfit the folder $attempts cannot be used: its user has to be able to write there"; exit 0; }
nameless() { say "unfit the file $state/host cannot be made: is the disk full? If it is there and empty, remove it"; exit 0; }

# As far as it can be seen without making anything that stays.
look() {
    greet
    made=$attempts
    until [ -e "$made" ] || [ -z "$made" ]; do made=${made%/*}; done
    [ -d "${made:-/}" ] && [ -w "${made:-/}" ] || unusable
    [ ! -e "$state/host" ] || [ -s "$state/host" ] || nameless
    { printf x >"$made/.runward-probe.$$"; } 2>/dev/null
    taken=
    [ ! -s "$made/.runward-probe.$$" ] || taken=yes
    rm -f "$made/.runward-probe.$$" # before anything is said: who has heard it hangs up
    if [ -n "$taken" ]; then say "clock $(date +%s)"; else say "unfit nothing can be written to ${made:-/}: is its disk full?"; fi
}

connect() {
    greet
    mkdir -p "$attempts" "$state/workspaces" 2>/dev/null && [ -w "$attempts" ] || unusable
    if [ ! -s "$state/host" ]; then
        # On the disk before it has its name; where there are no links, it is moved there.
        if dd if=/proc/sys/kernel/random/uuid of="$state/host.$$" conv=fsync 2>/dev/null && [ -s "$state/host.$$" ]; then
            ln "$state/host.$$" "$state/host" 2>/dev/null || mv -n "$state/host.$$" "$state/host" 2>/dev/null
        fi
        rm -f "$state/host.$$"
    fi
    read -r host 2>/dev/null <"$state/host" && [ -n "$host" ] || nameless
    exec 3<&0
    say "ready $host $this_boot $state"
    IFS=' ' read -r asked id unit <&3 || exit 0
    case $id in '' | *[!A-Za-z0-9-]*) exit 0 ;; esac
    folder=$attempts/$id
    case $asked in
    start)
        sweep
        if earlier; then say "busy $pid $ending"; exit 0; fi
        if mkdir "$folder" 2>/dev/null; then start
        elif [ ! -d "$folder" ]; then say "unfit the folder $folder cannot be made: is the disk full?"; exit 0; fi ;;
    follow)
        mkdir "$folder" 2>/dev/null
        [ -d "$folder" ] || { say "unfit the folder $folder cannot be made: is the disk full?"; exit 0; }
        # Who asks again has not sent the rest of an order that was cut: what still waits for it will not start.
        if void; then
            if lives "$folder/runner"; then kill -KILL "$pid" 2>/dev/null; fi
            rm -rf "$folder/secrets"
        fi ;;
    *) exit 0 ;;
    esac
    IFS=' ' read -r word out_at err_at <&3 || exit 0
    follow
}

# Declares that nothing was started, unless somebody was faster.
void() { mkdir "$folder/decided" 2>/dev/null && : >"$folder/void"; }

# Says that nothing was started, and to who wanted to start it also why, as far as that can be seen.
say_void() {
    why=
    if [ "$asked" = start ]; then
        why='what was to start it there ended'
        { printf x >"$folder/probe"; } 2>/dev/null
        if [ ! -s "$folder/probe" ]; then why="nothing can be written to $folder: is its disk full?"
        elif [ -s "$folder/trouble" ]; then why=$(tail -n 1 "$folder/trouble" | LC_ALL=C tr -c '[:print:]' ' ' | head -c 400); fi
    fi
    say "void $why"
    exit 0
}

# Secrets of attempts that nobody watches any more, attempts that nobody has collected, and workspaces that nobody has used
# for long.
sweep() {
    used=' '
    for other in "$attempts"/*; do
        if lives "$other/runner" || lives "$other/main"; then
            if read -r name 2>/dev/null <"$other/workspace"; then used="$used$name "; fi
        elif [ -d "$other/secrets" ] && [ -e "$other/runner" ]; then rm -rf "$other/secrets"; fi
    done
    command -v find >/dev/null || return 0
    find "$attempts/." ! -name . -prune -type d -mtime "+$finished_days" 2>/dev/null | while IFS= read -r old; do
        lives "$old/runner" || lives "$old/main" || rm -rf "$old"
    done
    find "$state/workspaces/." ! -name . -prune -type d -mtime "+$workspace_days" 2>/dev/null | while IFS= read -r old; do
        case $used in *" ${old##*/} "*) continue ;; esac
        # Others may have begun to use it while those before it were removed.
        [ -z "$(find "$old" -prune -mtime "+$workspace_days")" ] || rm -rf "$old"
    done
}

# Whether an earlier attempt of the same step still runs here; then its process is $pid, and $ending ends it.
earlier() {
    for other in "$attempts"/*; do
        [ "$other" != "$folder" ] && [ ! -e "$other/end" ] && [ -e "$other/unit" ] || continue
        read -r known <"$other/unit" && [ "$known" = "$unit" ] || continue
        if lives "$other/runner"; then ending="kill $pid"
        elif lives "$other/main"; then ending="kill -- -$pid"
        else continue; fi
        return 0
    done
    return 1
}

start() {
    printf '%s\n' "$unit" >"$folder/unit" && printf '%s\n' "$text" >"$folder/far" ||
        { void; say "unfit nothing can be written to $folder: is its disk full?"; exit 0; }
    set -- "PATH=$PATH" "HOME=$HOME" SHELL=/bin/sh
    for name in USER LANG TZ TMPDIR; do
        eval "value=\${$name-}"
        [ -z "$value" ] || set -- "$@" "$name=$value"
    done
    env -i "$@" setsid sh "$folder/far" run "$folder" "$state" <&3 3<&- >/dev/null 2>"$folder/trouble" &
    # Until it has read all that is for it: what comes then is for us.
    until [ -e "$folder/main" ] || [ -e "$folder/end" ] || [ -e "$folder/void" ]; do
        born $! >/dev/null || { void; break; }
        sleep 0.02
    done
}

# Says so where nothing was started and nothing will be, and sets $ended where whoever watched it is dead.
judge() {
    [ ! -e "$folder/void" ] || say_void
    if lives "$folder/runner" || [ -e "$folder/end" ]; then return; fi
    void
    [ ! -e "$folder/void" ] || say_void
    # Whoever had decided to start it, which comes after its name in `runner`, is gone before it could.
    [ ! -e "$folder/decided" ] || lives "$folder/runner" || [ -e "$folder/starting" ] || say_void
    [ ! -e "$folder/starting" ] || lives "$folder/runner" || [ -e "$folder/end" ] || ended=dead
}

# Passes on output and the end. What the other side says meanwhile is heard by a process of its own, which ends this one
# when it has heard the last word, or nobody is there any more.
follow() {
    judge
    say there
    own=$(born $$)
    (
        while IFS=' ' read -r word rest <&3; do
            case $word in
            stop)
                case $rest in '' | *[!0-9]*) continue ;; esac
                printf '%s\n' "$rest" >"$folder/stop.new" && mv "$folder/stop.new" "$folder/stop"
                lives "$folder/runner" && kill -TERM "$pid" ;;
            done)
                rm -rf "$folder"
                break ;;
            esac
        done
        [ "$(born $$)" != "$own" ] || kill -TERM $$
    ) 2>/dev/null &
    pause=0.05 beats=0
    while :; do
        ended=
        [ ! -e "$folder/end" ] || ended=yes
        [ -n "$ended" ] || judge
        # A signal that comes just before it waits is not heard: it is told again.
        if [ -z "$ended" ] && [ -e "$folder/stop" ] && lives "$folder/runner"; then kill -TERM "$pid" 2>/dev/null; fi
        before=$out_at/$err_at
        at=$out_at && pass out && out_at=$at
        at=$err_at && pass err && err_at=$at
        [ -z "$ended" ] || break
        if [ "$before" != "$out_at/$err_at" ]; then pause=0.05 beats=0; else beats=$((beats + 1)); fi
        case $beats in 20) pause=0.2 ;; 60) pause=0.5 ;; *[05]0) say beat ;; esac
        sleep "$pause"
    done
    case $ended in
    dead) dead ;;
    *)
        if [ -f "$folder/output" ] && [ ! -L "$folder/output" ]; then
            head -c 1048577 "$folder/output" >"$folder/output.cut"
            say "outputs $(wc -c <"$folder/output.cut")"
            cat "$folder/output.cut"
        elif [ -e "$folder/output" ] || [ -L "$folder/output" ]; then
            say 'outputs irregular'
        fi
        cat "$folder/end" ;;
    esac
    wait
}

# What is new of a stream since the byte $at.
pass() {
    while :; do
        n=$((at / piece)) skip=$((at % piece))
        if [ -e "$folder/$1.$n" ]; then
            new=0
            {
                size=$(wc -c <"$folder/$1.$n") && new=$((size - skip))
                if [ "$new" -gt 0 ]; then
                    say "$1 $at $new"
                    tail -c "+$((skip + 1))" <&4 | head -c "$new"
                    at=$((at + new))
                fi
            } 4<"$folder/$1.$n"
            [ "$new" -le 0 ] || continue
            [ -e "$folder/$1.$((n + 1))" ] || return 0
            # A piece that is followed by another is whole, unless the disk was full.
            size=$(wc -c <"$folder/$1.$n")
            [ "$size" -gt "$skip" ] || at=$(((n + 1) * piece))
            continue
        fi
        next=
        for file in "$folder/$1".*; do
            k=${file##*.}
            case $k in *[!0-9]*) continue ;; esac
            if [ "$k" -gt "$n" ] && { [ -z "$next" ] || [ "$k" -lt "$next" ]; }; then next=$k; fi
        done
        [ -n "$next" ] || return 0
        at=$((next * piece))
    done
} 2>/dev/null

# It was started, and nobody is there who could say how it ended. What is left of it must not go on unwatched.
dead() {
    rm -rf "$folder/secrets"
    id=${folder##*/} main_pid=
    if lives "$folder/main"; then main_pid=$pid; fi
    read -r pid begun boot <"$folder/runner" || boot=$this_boot
    stuck=
    if [ "$boot" = "$this_boot" ]; then
        stop 0
        # And those that helped it, which are of its session.
        left=$stuck main_pid=$pid
        [ -n "$(born "$pid")" ] || stop 0
        stuck=$left
    fi
    for pid in $stuck; do say "stuck $pid $(command_of "$pid")"; done
    if [ "$boot" = "$this_boot" ]; then say 'lost killed'; else say 'lost rebooted'; fi
    say .
}

# ---------------------------------------------------------------------------------------------------- the step's processes

# Sets $found to the processes of the step, whatever they did with groups and sessions: those of its session, those with its
# mark in their environment, and all below them.
find_step() {
    marked=" $(grep -lsF "RUNWARD_CLAIM=$id" /proc/[0-9]*/environ | tr '\n' ' ') "
    found=$(grep -sE '^(State|PPid|NSsid):' /proc/[0-9]*/status | {
        tab=$(printf '\t') all= seen=' '
        while IFS=":$tab" read -r file key value more; do
            case $key in
            State) state=${value%% *} ;;
            PPid) parent=$value ;;
            NSsid)
                pid=${file#/proc/} pid=${pid%/status}
                case $state in Z | X) continue ;; esac
                all="$all $pid:$parent"
                if [ "$value" = "${main_pid:-none}" ] || [ "$pid" = "${main_pid:-none}" ]; then seen="$seen$pid "; continue; fi
                case $marked in *" /proc/$pid/environ "*) seen="$seen$pid " ;; esac ;;
            esac
        done
        more=yes
        while [ -n "$more" ]; do
            more=
            for one in $all; do
                case $seen in *" ${one%:*} "*) continue ;; esac
                case $seen in *" ${one#*:} "*) seen="$seen${one%:*} " more=yes ;; esac
            done
        done
        printf '%s' "$seen"
    })
    set -- $found
    found=$*
}

# TERM to all of the step, KILL after $1 seconds, until none is left; sets $stuck to those that KILL does not end.
stop() {
    grace=$1 asked=
    seconds
    since=$now
    find_step
    [ -z "$found" ] || kill -TERM $found 2>/dev/null
    [ -z "$found" ] || kill -CONT $found 2>/dev/null
    while [ -n "$found" ]; do
        if [ -e "$folder/stop" ] && read -r asked <"$folder/stop" && [ "$asked" -lt "$grace" ]; then grace=$asked; fi
        seconds
        [ $((now - since)) -lt "$grace" ] || break
        sleep 0.1
        find_step
    done
    seconds
    since=$now
    while find_step && [ -n "$found" ]; do
        kill -KILL $found 2>/dev/null
        seconds
        [ $((now - since)) -lt 5 ] || break
        sleep 0.05
    done
    stuck=$found
}

command_of() {
    shown=$(tr '\0' ' ' <"/proc/$1/cmdline" | head -c 256 | LC_ALL=C tr -c '[:print:]' '?')
    printf '%s' "${shown:-[$(head -n 1 "/proc/$1/comm")]}"
} 2>/dev/null

# -------------------------------------------------------------------------------------------------------------------- run

# The bytes of a value, in $_rw_value.
decode() {
    case $1 in
    *\\*)
        _rw_value="$(printf '%b.' "$1")"
        _rw_value="${_rw_value%.}" ;;
    *) _rw_value=$1 ;;
    esac
}

run() {
    folder=$1 state=$2 id=${1##*/}
    read -r this_boot </proc/sys/kernel/random/boot_id
    say "$$ $(born $$) $this_boot" >"$folder/runner.new" && mv "$folder/runner.new" "$folder/runner" || exit 1
    _rw_given=0 _rw_args=0 cwd= timeout=600 grace=10 orphans=kill workspace= complete=
    # What does not arrive keeps neither secrets here nor a process.
    later 0 watch_order
    reading_pid=$!
    while IFS= read -r line; do
        rest=${line#* }
        case $line in
        'env '* | 'file '*) _rw_given=$((_rw_given + 1)) && eval "_rw_given_$_rw_given=\$line" ;;
        'arg '*) _rw_args=$((_rw_args + 1)) && eval "_rw_arg_$_rw_args=\$rest" ;;
        'secret '*)
            mkdir -p "$folder/secrets" && printf '%b' "${rest#* }" >"$folder/secrets/${rest%% *}" || break
            chmod 400 "$folder/secrets/${rest%% *}" ;;
        'script '*) printf '%b' "$rest" >"$folder/script" && chmod 400 "$folder/script" || break ;;
        'cwd '*) cwd=$rest ;;
        'workspace '*) workspace=$state/workspaces/$rest && printf '%s\n' "$rest" >"$folder/workspace" || break ;;
        'timeout '*) timeout=$rest ;;
        'grace '*) grace=$rest ;;
        'orphans '*) orphans=$rest ;;
        go) complete=yes && break ;;
        esac
    done
    call_off "$reading_pid"
    exec </dev/null
    [ -n "$complete" ] && mkdir -p "$workspace" && touch "$workspace" && mkfifo "$folder/o" "$folder/e" ||
        { rm -rf "$folder/secrets"; void; exit 1; }
    why= code= stuck= orphaned=
    trap 'why=${why:-killed}' TERM
    trap 'why=${why:-timed-out}' USR1
    # Two that came at the same moment saw nothing of each other. By now each has its name there: at most one goes on.
    attempts=$state/attempts
    read -r unit <"$folder/unit"
    if earlier; then
        say "another attempt of this step was being started there at the same moment (process $pid): wait for its end" >&2
        rm -rf "$folder/secrets"
        void
        exit 1
    fi
    mkdir "$folder/decided" && : >"$folder/starting" || { rm -rf "$folder/secrets"; exit 1; }
    capture out <"$folder/o" 2>/dev/null &
    out_pid=$!
    capture err <"$folder/e" 2>/dev/null &
    err_pid=$!
    (begin) </dev/null >"$folder/o" 2>"$folder/e" &
    main_pid=$!
    say "$main_pid $(born $main_pid) $this_boot" >"$folder/main.new" && mv "$folder/main.new" "$folder/main"
    later "$timeout" time_is_over
    watch_pid=$!
    while :; do
        wait "$main_pid"
        code=$?
        [ -n "$why" ] || break
        if [ -e "$folder/stop" ]; then read -r grace <"$folder/stop"; fi
        stop "$grace"
        # One that could not be killed is named, and not waited for.
        case " $stuck " in
        *" $main_pid "*) code=137 ;;
        *)
            wait "$main_pid"
            code=$? ;;
        esac
        break
    done
    call_off "$watch_pid"
    [ -n "$why" ] || left_behind
    for tenth in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        born "$out_pid" >/dev/null || born "$err_pid" >/dev/null || break
        sleep 0.1
    done
    rm -rf "$folder/secrets"
    finish
}

time_is_over() { lives "$folder/runner" && kill -USR1 "$pid"; }

# Until it is decided what becomes of the order, or nobody reads it any more.
watch_order() {
    left=$order_seconds
    while lives "$folder/runner" && [ ! -e "$folder/decided" ]; do
        if [ "$left" -le 0 ] && void; then
            kill -KILL "$pid"
            rm -rf "$folder/secrets"
        fi
        left=$((left - 5))
        sleep 5 &
        wait $!
    done
}

# The process of the step, which becomes its program. Names are only those of the runbook from here on.
begin() {
    trap - TERM USR1
    _rw_setsid=$(command -v setsid) _rw_env=$(command -v env) _rw_folder=$folder
    # Started in the background, where INT and QUIT are ignored: a step is to find them as they are everywhere.
    "$_rw_env" --default-signal=INT,QUIT true 2>/dev/null || _rw_env=
    case $cwd in
    '') ;;
    *)
        decode "$cwd"
        case $_rw_value in /*) ;; *) _rw_value=./$_rw_value ;; esac
        cd "$_rw_value" 2>/dev/null || refuse "the folder $_rw_value (\`cwd\`) cannot be entered there" ;;
    esac
    export "RUNWARD_OUTPUT=$folder/output" "RUNWARD_WORKSPACE=$workspace" "RUNWARD_CLAIM=$id"
    # One `set` for all of them, of names alone: one for each would copy all that came before.
    _rw_n=1 _rw_all=
    while [ "$_rw_n" -le "$_rw_args" ]; do
        eval "decode \"\$_rw_arg_$_rw_n\"; _rw_arg_$_rw_n=\$_rw_value"
        _rw_all="$_rw_all \"\$_rw_arg_$_rw_n\""
        _rw_n=$((_rw_n + 1))
    done
    eval "set -- $_rw_all"
    [ ! -e "$folder/script" ] || set -- "$@" "$folder/script"
    _rw_n=1
    while [ "$_rw_n" -le "$_rw_given" ]; do
        eval "_rw_line=\$_rw_given_$_rw_n"
        case $_rw_line in
        'file '*) export "${_rw_line#* }=$_rw_folder/secrets/${_rw_line#* }" ;;
        *)
            _rw_line=${_rw_line#* }
            decode "${_rw_line#* }"
            export "${_rw_line%% *}=$_rw_value" ;;
        esac
        _rw_n=$((_rw_n + 1))
    done
    command -v -- "$1" >/dev/null || refuse "it has no program $1 in PATH=$PATH: install it there"
    if [ -n "$_rw_env" ]; then exec "$_rw_env" --default-signal=INT,QUIT "$_rw_setsid" -- "$@"; fi
    exec "$_rw_setsid" -- "$@"
}

refuse() {
    printf '%s' "$1" >"$_rw_folder/refused"
    exit 127
}

# Output to pieces: the first and the last of them stay. It is read to its end even if the disk is full.
capture() {
    n=0 size=0
    while :; do
        # It writes what it reads at once, but counts a short read as a whole one: again, until the piece is full.
        dd bs=4096 count=$((piece - size)) iflag=count_bytes >>"$folder/$1.$n"
        new=$(wc -c <"$folder/$1.$n") && [ "$new" -gt "$size" ] || break
        size=$new
        [ "$size" -ge "$piece" ] || continue
        n=$((n + 1)) size=0
        [ "$n" -lt 16 ] || rm -f "$folder/$1.$((n - 8))"
    done
    cat >/dev/null
}

# What a finished step left behind: ended after a moment, or left, as the step wants it.
left_behind() {
    find_step
    for tenth in 1 2 3; do
        [ -n "$found" ] || return 0
        sleep 0.1
        find_step
    done
    [ -n "$found" ] || return 0
    for pid in $found; do
        orphaned="$orphaned
orphan $pid $(command_of "$pid")"
    done
    [ "$orphans" = leave ] || stop 1
}

finish() {
    {
        for pid in $stuck; do say "stuck $pid $(command_of "$pid")"; done
        [ -z "$orphaned" ] || say "${orphaned#?}"
        if [ -e "$folder/refused" ]; then
            printf 'refused '
            LC_ALL=C tr -c '[:print:]' '?' <"$folder/refused"
            say
        else
            say "${why:-exited} $code"
        fi
        say .
    } >"$folder/end.new"
    mv "$folder/end.new" "$folder/end"
    exit 0
}

case ${1-} in
run) run "$2" "$3" ;;
look) look ;;
*) connect ;;
esac
