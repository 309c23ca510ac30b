#!/bin/sh
# Shows the proxy allow, forbid and refuse, on this machine alone. `make quickstart` builds the programs and calls it.
set -eu

here=$(dirname "$0")
bin=$1
upstream=127.0.0.1:18080
proxy=127.0.0.1:18443

"$bin/examples/quickstart-upstream" "$upstream" &
upstream_pid=$!
"$bin/kube-rbac-proxy" \
    --secure-listen-address="$proxy" \
    --upstream="http://$upstream/" \
    --token-auth-file="$here/tokens.csv" \
    --rbac-manifests="$here/rbac.yaml" \
    --ignore-paths=/healthz \
    --auth-header-fields-enabled \
    -v=2 2>"${TMPDIR:-/tmp}/kube-rbac-proxy-quickstart.log" &
proxy_pid=$!
trap 'kill "$proxy_pid" "$upstream_pid" 2>/dev/null || true' EXIT
trap 'exit 0' INT TERM

tries=0
until curl --silent --insecure --output /dev/null "https://$proxy/healthz"; do
    tries=$((tries + 1))
    if [ "$tries" -gt 50 ] || ! kill -0 "$proxy_pid" 2>/dev/null; then
        echo "the proxy does not answer on $proxy; it said:" >&2
        cat "${TMPDIR:-/tmp}/kube-rbac-proxy-quickstart.log" >&2
        exit 1
    fi
    sleep 0.1
done

show() {
    what=$1
    shift
    printf '\n# %s\n$ curl --insecure' "$what"
    for argument in "$@"; do
        case $argument in
        *' '*) printf " '%s'" "$argument" ;;
        *) printf ' %s' "$argument" ;;
        esac
    done
    echo
    curl --silent --insecure --write-out 'HTTP status %{http_code}\n' "$@" | sed 's/^/  /'
}

echo
echo "A service listens on http://$upstream/, and the proxy guards it on https://$proxy/."
show "Nobody in particular is refused: the proxy does not know who asks." "https://$proxy/metrics"
show "Bob is known, and nothing allows him this." -H 'Authorization: Bearer token-of-bob' "https://$proxy/metrics"
show "Alice is in a group that may, and the service is told who she is." -H 'Authorization: Bearer token-of-alice' "https://$proxy/metrics"
show "Alice may read /metrics and nothing else." -H 'Authorization: Bearer token-of-alice' "https://$proxy/secrets"
show "One path is open to everybody: --ignore-paths=/healthz." "https://$proxy/healthz"
cat <<TEXT

Why was that? Ask:
  $bin/kube-rbac-proxy explain --rbac-manifests=$here/rbac.yaml --as bob --method GET --path /metrics

Who has which token is in $here/tokens.csv, who may do what in $here/rbac.yaml.
Change them while this runs, give bob the group metrics-readers for one, and ask again after two seconds.
Every refusal with its reason: ${TMPDIR:-/tmp}/kube-rbac-proxy-quickstart.log

Both programs run until Ctrl-C.
TEXT
wait "$proxy_pid"
