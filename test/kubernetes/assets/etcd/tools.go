//go:build tools

// Package tools names the commands, so that go.mod and go.sum cover all they need.
package tools

import (
	_ "go.etcd.io/etcd/etcdctl/v3"
	_ "go.etcd.io/etcd/server/v3"
)
