# Completion of runward. Load it with: source <(runward completions bash)
_runward() {
    # bash cuts words at `=` and `:` (`-p env=prod` is three words): put together what was typed as one.
    local words=() word current index=0 joined='' i
    for ((i = 0; i < ${#COMP_WORDS[@]}; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $i -gt 0 && ($word == [=:]* || $joined == *[=:]) && ${#words[@]} -gt 0 ]]; then
            words[-1]+=$word
        else
            words+=("$word")
        fi
        joined=${words[-1]}
        if ((i == COMP_CWORD)); then index=$((${#words[@]} - 1)) current=${words[-1]}; fi
    done
    local IFS=$'\n'
    COMPREPLY=($(_CLAP_IFS=$'\n' _CLAP_COMPLETE_INDEX=$index _RUNWARD_COMPLETE=bash "${COMP_WORDS[0]}" -- "${words[@]}" 2> /dev/null))
    # What stands before the last `=` or `:` is not part of the word for bash.
    if [[ $current == *[=:]* ]]; then
        COMPREPLY=("${COMPREPLY[@]#"${current%"${current##*[=:]}"}"}")
    fi
    if [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[=/] ]]; then
        compopt -o nospace 2> /dev/null || :
    fi
}
complete -o nosort -F _runward runward
