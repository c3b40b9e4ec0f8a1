//go:build tools

// Package tools keeps the commands in go.mod.
package tools

import _ "helm.sh/helm/v4/cmd/helm"
