//go:build tools

// Package tools pins h2spec, the conformance tests of HTTP/2.
package tools

import _ "github.com/summerwind/h2spec/cmd/h2spec"
