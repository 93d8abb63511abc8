//go:build tools

// Package tools names the programs that ../build.sh builds, so that `go mod tidy` keeps what they need in go.mod and go.sum.
// It is never compiled.
package tools

import (
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
	_ "k8s.io/kubernetes/cmd/kubectl"
)
