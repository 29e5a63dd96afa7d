# Completion of iscsictl for bash. What is offered, the program itself says; it is silent if it cannot.
# Must not ask for a password, or wait for more than a second.
_iscsictl() {
    local line="${COMP_LINE:0:COMP_POINT}" current candidate prefix="" breaks=""
    local -a words
    # As they were typed: readline also breaks them at colons, which targets and portals have, and after --option=.
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    current="${words[-1]}"
    if [[ $current == --*-file=* || $current == --bundle=* ]] ||
        { ((${#words[@]} > 1)) && [[ ${words[-2]} == --*-file || ${words[-2]} == --bundle ]]; }; then
        compopt -o default 2>/dev/null
        COMPREPLY=()
        return
    fi
    mapfile -t words < <(printf '%s\n' "${words[@]}" | tr -d "\\\\'\"")
    mapfile -t COMPREPLY < <("$1" complete -- "${words[@]:1}" 2>/dev/null)
    # Within quotes nothing is broken, and nothing needs a backslash.
    if [[ $current =~ ^(--[a-z-]+=)?[\'\"] ]]; then
        COMPREPLY=("${COMPREPLY[@]#"${BASH_REMATCH[1]}"}")
        return
    fi
    [[ $COMP_WORDBREAKS == *:* ]] && breaks+=":"
    [[ $COMP_WORDBREAKS == *=* ]] && breaks+="="
    [[ -n $breaks ]] && prefix="${current%"${current##*[$breaks]}"}"
    for candidate in "${!COMPREPLY[@]}"; do
        # What was typed without a backslash before a bracket is stripped without one.
        if [[ $prefix != *\\* && ${COMPREPLY[candidate]} == "$prefix"* ]]; then
            printf -v COMPREPLY[candidate] '%q' "${COMPREPLY[candidate]#"$prefix"}"
        else
            printf -v current '%q' "${COMPREPLY[candidate]}"
            COMPREPLY[candidate]="${current#"$prefix"}"
        fi
    done
}
complete -F _iscsictl iscsictl
