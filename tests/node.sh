# shellcheck shell=bash
# Sourced by the suites that need Node.

# Puts a Node of at least version 20 in front of the path. Debian 12 has 18: then npm brings one.
ensure_node() {
    local cache=${WEBSOCK_TEST_CACHE:-$HOME/.cache/websock-tests}/node
    local check='process.exit(parseInt(process.versions.node) >= 20 ? 0 : 1)'
    node -e "$check" 2>/dev/null && return 0
    "$cache/node_modules/.bin/node" -e "$check" 2>/dev/null ||
        npm install --silent --no-fund --no-audit --prefix "$cache" node@22 </dev/null
    PATH=$cache/node_modules/.bin:$PATH
    node -e "$check"
}
