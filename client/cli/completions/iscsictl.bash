# Completion of iscsictl for bash. What is offered, the program itself says; it is silent if it cannot.
# Must not ask for a password, or wait for more than a second.
_iscsictl() {
    local line="${COMP_LINE:0:COMP_POINT}" current candidate prefix=""
    local -a words
    # As they were typed: readline also breaks them at colons, which targets and portals have.
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    current="${words[-1]}"
    if ((${#words[@]} > 1)) && [[ ${words[-2]} == --*-file || ${words[-2]} == --bundle ]]; then
        compopt -o default 2>/dev/null
        COMPREPLY=()
        return
    fi
    mapfile -t words < <(printf '%s\n' "${words[@]}" | tr -d "\\\\'\"")
    mapfile -t COMPREPLY < <("$1" complete -- "${words[@]:1}" 2>/dev/null)
    # Within quotes nothing is broken at colons, and nothing needs a backslash.
    [[ $current == [\'\"]* ]] && return
    [[ $COMP_WORDBREAKS == *:* ]] && prefix="${current%"${current##*:}"}"
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
