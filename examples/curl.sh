#!/bin/sh
# Buys an item with nothing but curl and sed: examples/curl.sh [ADDRESS [BUYER]]. To read, to paste from, and to run.
set -eu
shop="${1:-http://localhost:8080}"
buyer="${2:-ada}"

# member NAME: the number or text with that name in the JSON of stdin, which has it once.
member() {
    sed -n "s/.*\"$1\":\"\{0,1\}\([^\",}]*\).*/\1/p;q"
}

# post TARGET [OPTION…]: after a 503 or a 429, --retry waits for as long as Retry-After asks, and sends the same request
# again; with an Idempotency-Key it stays the same purchase. A refusal is printed and ends the script.
post() {
    target="$1"
    shift
    curl --silent --show-error --fail-with-body --retry 5 --retry-max-time 30 --request POST "$@" "$shop$target"
}

get() {
    curl --silent --show-error --fail "$shop$1"
}

sale="$(get /sales/current)"
items="$(get "/sales/$(echo "$sale" | member id)/items?available=true&limit=1")"
item="$(echo "$items" | member id)"

ticket="$(post "/checkout?user_id=$buyer&id=$item")" || { echo "$ticket" >&2 && exit 1; }
code="$(echo "$ticket" | member code)"
post "/purchase?code=$code" --header "Idempotency-Key: $buyer-$item-$$"
echo
echo "Its receipt, for as long as you keep the code: $shop/purchases/$code" >&2
