//go:build !unix

package hold

// lock does nothing here: only one process may send.
func (s *Store) lock() (func(), error) { return func() {}, nil }
