//go:build !unix

package repo

import "os"

func hold(*os.File) error { return nil }
