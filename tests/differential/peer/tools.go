//go:build tools

// Package peer pins the Go kube-rbac-proxy that the differential suite compares with.
package peer

import _ "github.com/brancz/kube-rbac-proxy/cmd/kube-rbac-proxy"
