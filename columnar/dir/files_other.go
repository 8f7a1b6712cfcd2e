//go:build !linux

package dir

import "os"

func renameNoReplace(root *os.Root, dir, from, to string) error {
	return linkNoReplace(root, dir, from, to)
}
