// Command signalpeer is package ratchet as a peer that others can be tried against: one JSON object per line on standard input and
// output. Package driver says which. It keeps everything in memory, private keys too, and is no part of the product.
package main

import (
	"fmt"
	"os"

	"coldframe/interop/signalpeer/driver"
)

func main() {
	if err := driver.Serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "signalpeer:", err)
		os.Exit(1)
	}
}
