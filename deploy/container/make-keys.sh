#!/bin/sh
# Makes the keys and tokens of deploy/container/compose.yaml and deploy/kubernetes. What exists stays as it is.
#
#   make-keys.sh DIR
#
# DIR/server.key                           the daemon
# DIR/{gateway,mqtt,health,sensor}.key     its clients; give sensor.key and server.pub to your programs
# DIR/clients.toml, DIR/rights.toml        the clients that the daemon admits, and their rights
# DIR/tokens.toml                          the gateway's tokens; their texts are in DIR/operator.token and
#                                          DIR/prometheus.token
set -eu
umask 077
dir=$1
mkdir -p "$dir"

key() { # name
    [ ! -e "$dir/$1.key" ] || return 0
    streamlearn keygen "$1" --dir "$dir" > /dev/null
    [ "$1" = server ] || sed -n "s/^public = /$1 = /p" "$dir/$1.pub" >> "$dir/clients.toml"
}
for name in server gateway mqtt health sensor; do key "$name"; done

[ -e "$dir/rights.toml" ] || cat > "$dir/rights.toml" << 'END'
# Rights of each key: docs/operate/security.md.
[gateway]
change = ["*"]
push = ["*"]
query = ["*"]
subscribe = ["*"]
admin = ["*"]

[mqtt]
change = ["*"]
push = ["*"]
query = ["*"]
subscribe = ["*"]

[health]
query = ["*"]

[sensor]
change = ["*"]
push = ["*"]
query = ["*"]
subscribe = ["*"]
END

token() { # name, and its rights
    name=$1
    shift
    [ -e "$dir/$name.token" ] || streamlearn token "$name" --file "$dir/tokens.toml" "$@" > "$dir/$name.token"
}
token operator --right change='*' --right push='*' --right query='*' --right subscribe='*'
token prometheus --right query='*'
echo "keys and tokens are in $dir; the page asks for the token in $dir/operator.token"
