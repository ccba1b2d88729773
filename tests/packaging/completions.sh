#!/usr/bin/env bash
# Has a shell complete some lines, and looks at what it offers.
#   completions.sh bash|zsh|fish DIRECTORY
set -euo pipefail
shell=$1 directory=$(cd "$2" && pwd)

# offers LINE: what the shell offers at the end of the line.
case $shell in
    bash)
        offers() {
            bash --norc -c '
                . "$1/websock.bash"
                complete -p websock >/dev/null
                eval "COMP_WORDS=($2)"
                case $2 in *" ") COMP_WORDS+=("") ;; esac
                COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
                _websock
                printf "%s\n" "${COMPREPLY[@]}"' bash "$directory" "$1"
        }
        ;;
    fish)
        offers() {
            fish --no-config -c "source '$directory/websock.fish'; complete -C '$1'" | cut -f 1
        }
        ;;
    zsh)
        # A terminal of its own: zsh completes for its line editor only.
        offers() {
            zsh -f -c '
                zmodload zsh/zpty
                zpty inner TERM=dumb COLUMNS=80 zsh -f -i
                zpty -w inner "PROMPT=; unsetopt zle_bracketed_paste; fpath=($1 \$fpath)"
                zpty -w inner "autoload -Uz compinit; compinit -u -D; zle -N offer; bindkey \"^I\" offer"
                zpty -w inner "offer() { zle list-choices; zle -R; zle -I; print OFF\"\"ERED; }"
                zpty -w inner "print REA""DY"
                zpty -r -m inner said "*READY*"
                # Nothing behind it: zsh shows no list while keys wait.
                zpty -w -n inner "$2"$'\''\t'\''
                zpty -r -m inner said "*OFFERED*"
                print -r -- $said' zsh "$directory" "$1" | tr -s '[:space:]' '\n'
        }
        ;;
esac

# expect LINE WORD...: all of these are offered; no:WORD: this one is not.
expect() {
    local line=$1 said word
    shift
    said=$(offers "$line")
    for word; do
        case $word in
            no:*) ! grep -qxF -e "${word#no:}" <<<"$said" || { echo "'$line': ${word#no:} is offered"; exit 1; } ;;
            *) grep -qxF -e "$word" <<<"$said" || { printf "'%s': %s is not offered:\n%s\n" "$line" "$word" "$said"; exit 1; } ;;
        esac
    done
}
expect 'websock -' -i -adress -console --check --dial --print-proxy no:--uuid
expect 'websock send -' --uuid --ident --broadcast --token no:--check
expect 'websock logout -' --user --session no:--uuid
expect 'websock listen -' --ident --url no:--uuid
expect 'websock ' send logout listen echo
expect 'websock --print-proxy ' nginx apache caddy haproxy no:send
