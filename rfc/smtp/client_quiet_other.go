//go:build !unix

package smtp

import "net"

// isQuiet cannot be known here; a dead connection shows when it is used.
func isQuiet(net.Conn) bool { return true }
