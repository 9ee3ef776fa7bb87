// Package stagecoach is the root of the house; see README.md and DESIGN.md. It holds only
// house_test.go, which states who may import whom.
package stagecoach
