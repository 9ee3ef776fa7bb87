// Package repo reads and writes files that are kept under version: in a git repository, on
// this machine or at the far end of SSH, HTTP or git's own protocol, or in a plain folder.
//
// It is the only room that knows git. A far repository is held in memory and fetched
// shallow; nothing of it is written to disk. A repository on this machine is read and written
// in place, without the git program.
package repo
