# bash completion for websock(1)
_websock() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} offered
    COMPREPLY=()
    case $before in
        -i | -ini | --ini | -logfile | --logfile)
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            compopt -o filenames 2>/dev/null
            return
            ;;
        -print-proxy | --print-proxy)
            mapfile -t COMPREPLY < <(compgen -W 'nginx apache caddy haproxy' -- "$word")
            return
            ;;
        -console | --console) offered='true false' ;;
        -adress | --adress | -address | --address | -dial | --dial | --url | --token | --timeout | --uuid | --ident | --user | --session | --cookie)
            return
            ;;
    esac
    case ${COMP_WORDS[1]} in
        send) offered='--uuid --ident --user --broadcast --url --token --timeout --raw --help' ;;
        logout) offered='--user --session --url --token --timeout --help' ;;
        listen) offered='--ident --cookie --resume --url --token --timeout --raw --help' ;;
        echo) offered='--url --token --timeout --raw --help' ;;
        *)
            offered+=' -i -adress -address -logfile -console --takeover --check --verbose --dial --print-proxy'
            offered+=' --help --version -v -h -V'
            ((COMP_CWORD > 1)) || offered+=' send logout listen echo'
            ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$offered" -- "$word")
}
complete -F _websock websock
