# fish completion for websock(1)
set -l commands send logout listen echo
set -l serves "not __fish_seen_subcommand_from $commands"
set -l asks "__fish_seen_subcommand_from $commands"

complete -c websock -f
complete -c websock -n __fish_use_subcommand -a send -d 'send to a client or to all pages'
complete -c websock -n __fish_use_subcommand -a logout -d 'close all tabs of a user or a session'
complete -c websock -n __fish_use_subcommand -a listen -d 'print each packet that arrives'
complete -c websock -n __fish_use_subcommand -a echo -d 'send a message to oneself'

complete -c websock -n "$serves" -s i -rF -d 'read this ini file'
complete -c websock -n "$serves" -o adress -x -d 'addresses to listen on'
complete -c websock -n "$serves" -o address -x -d 'addresses to listen on'
complete -c websock -n "$serves" -o logfile -rF -d 'file to log to'
complete -c websock -n "$serves" -o console -xa 'true false' -d 'log to the console'
complete -c websock -n "$serves" -l takeover -d 'take over from the server that is running'
complete -c websock -n "$serves" -l check -d 'say what would keep the server from starting, end'
complete -c websock -n "$serves" -s v -l verbose -d 'with --check: also what is in force'
complete -c websock -n "$serves" -l dial -x -d "with --check: connect to the server's public address"
complete -c websock -n "$serves" -l print-proxy -xa 'nginx apache caddy haproxy' -d 'the block that a proxy needs in front'
complete -c websock -n "$serves" -s V -l version -d 'show name and version'
complete -c websock -s h -l help -d 'show help'

complete -c websock -n '__fish_seen_subcommand_from send' -l uuid -x -d 'to this client'
complete -c websock -n '__fish_seen_subcommand_from send listen' -l ident -x -d 'name of the client'
complete -c websock -n '__fish_seen_subcommand_from send logout' -l user -x -d 'all tabs of this user'
complete -c websock -n '__fish_seen_subcommand_from logout' -l session -x -d 'all tabs of this session'
complete -c websock -n '__fish_seen_subcommand_from send' -l broadcast -d 'to all pages'
complete -c websock -n "$asks" -l url -x -d 'where the server is'
complete -c websock -n "$asks" -l token -x -d "what the server's pushToken has"
complete -c websock -n "$asks" -l timeout -x -d 'longest wait for an answer, in seconds'
complete -c websock -n "$asks" -l raw -d 'any WebSocket server'
complete -c websock -n '__fish_seen_subcommand_from listen' -l cookie -x -d 'sign in by this cookie'
complete -c websock -n '__fish_seen_subcommand_from listen' -l resume -d 'come back after a loss, and miss nothing'
