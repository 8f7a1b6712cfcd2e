package keystore

import "runtime"

// scrubbed zeroes the stack below its caller and returns the function that does so again: defer scrubbed()() brackets whatever handles
// keys. Ciphers, hashes and the encapsulation leave parts of what they work on in frames of the stack; without this they stay until
// other calls of the goroutine happen to overwrite them. The first call makes the stack grow before there is a key on it:
// a stack that grows later leaves its former memory behind as it was.
func scrubbed() func() {
	scrubStack()
	return scrubStack
}

//go:noinline
func scrubStack() {
	var below [16 << 10]byte
	clear(below[:])
	runtime.KeepAlive(&below)
}
