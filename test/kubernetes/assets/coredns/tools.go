//go:build tools

// Package tools names the command, so that go.mod and go.sum cover all it needs.
package tools

import _ "github.com/coredns/coredns"
