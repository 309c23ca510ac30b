#!/bin/sh
# Shows kube-oidc-proxy between an issuer's users and a real API server, on this machine alone. `make quickstart-oidc` builds
# the programs and calls it.
#
# QUICKSTART_PORT    where the proxy listens, with its probes on the next port: 18444 if nothing is said
# QUICKSTART_ISSUER  own: an issuer of this project's, where npm's oidc-provider is not wanted
set -eu

here=$(dirname "$0")
bin=$1
port=${QUICKSTART_PORT:-18444}
folder=$(mktemp -d "${TMPDIR:-/tmp}/kube-oidc-proxy-quickstart-XXXXXX")

end() {
    # Each says on its own that it was not there.
    for pid in "${proxy_pid:-}" "${world_pid:-}"; do
        [ -z "$pid" ] || { kill "$pid" && wait "$pid"; } 2>/dev/null || true
    done
    rm -rf "$folder"
}
trap end EXIT
trap 'exit 0' INT TERM

# Waits until a command succeeds, or until a program ends, whose words are in a file.
until_done() {
    pid=$1 log=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        if ! kill -0 "$pid" 2>/dev/null; then
            echo "it ended, and said:" >&2
            cat "$log" >&2
            exit 1
        fi
        sleep 0.1
    done
}

echo "An API server and an issuer start. The first time they are built, which takes ten minutes."
# Not the reader's own cluster.
env -u KUBECONFIG "$bin/examples/quickstart-oidc-world" "$folder" "${QUICKSTART_ISSUER:-}" >"$folder/world.log" &
world_pid=$!
until_done "$world_pid" "$folder/world.log" grep -q ready "$folder/world.log"

admin() { "$folder/kubectl" --kubeconfig="$folder/admin.kubeconfig" "$@"; }
admin apply -f "$here/rbac.yaml" >/dev/null
admin create token kube-oidc-proxy --namespace=kube-oidc-proxy --duration=24h >"$folder/proxy.token"
# It reads its roles a moment after it took them.
proxy_as=system:serviceaccount:kube-oidc-proxy:kube-oidc-proxy
until_done "$world_pid" "$folder/world.log" admin auth can-i impersonate users --as="$proxy_as"
until_done "$world_pid" "$folder/world.log" admin auth can-i list services --as=somebody --as-group=oidc:prometheus-clients

"$bin/kube-oidc-proxy" \
    --kubeconfig="$folder/proxy.kubeconfig" \
    --bind-address=127.0.0.1 \
    --secure-port="$port" \
    --readiness-probe-port=$((port + 1)) \
    --tls-cert-file="$folder/proxy.crt" \
    --tls-private-key-file="$folder/proxy.key" \
    --oidc-issuer-url="$(cat "$folder/issuer.url")" \
    --oidc-ca-file="$folder/ca.crt" \
    --oidc-client-id=https://cluster.test \
    --oidc-username-prefix=oidc: \
    --oidc-groups-claim=groups \
    --oidc-groups-prefix=oidc: \
    -v=2 2>"$folder/proxy.log" &
proxy_pid=$!
until_done "$proxy_pid" "$folder/proxy.log" curl --silent --fail "http://127.0.0.1:$((port + 1))/ready"

user() {
    cat <<YAML
- name: $1
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1
      command: $folder/token
      args: [$1]
      interactiveMode: Never
YAML
}
cat >"$folder/kubeconfig" <<YAML
apiVersion: v1
kind: Config
clusters:
- name: quickstart
  cluster:
    server: https://localhost:$port
    certificate-authority: $folder/ca.crt
users:
$(user prometheus)
$(user stranger)
contexts:
- name: quickstart
  context:
    cluster: quickstart
    user: prometheus
current-context: quickstart
YAML
export KUBECONFIG="$folder/kubeconfig"

show() {
    what=$1
    shift
    printf '\n# %s\n$ kubectl %s\n' "$what" "$*"
    { "$folder/kubectl" "$@" 2>&1 || true; } | sed 's/^/  /'
}

echo
echo "The proxy listens on https://localhost:$port/, in front of an API server that knows nothing of $(cat "$folder/issuer.url")."
show "Who the issuer's user is to the API server." auth whoami
show "A group of his may look at what is in this namespace." get services
show "Nothing lets him see secrets: the API server says so, to him by his name." get secrets
show "Another user of the issuer, whom nothing lets do anything." --user=stranger get services
show "Nobody acts as another through the proxy." --as=system:admin get services
cat <<TEXT

Who may do what is in $here/rbac.yaml. To go on by hand:
  export KUBECONFIG=$folder/kubeconfig
  $folder/kubectl get services
With all rights, past the proxy:
  $folder/kubectl --kubeconfig=$folder/admin.kubeconfig get all --all-namespaces
Every refusal with its reason: $folder/proxy.log

All of it runs until Ctrl-C.
TEXT
wait "$proxy_pid"
