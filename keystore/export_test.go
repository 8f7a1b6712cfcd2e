package keystore

// KeyOf returns the key of a proof, to look for it where it must not be.
func KeyOf(p Proof) []byte { return p.key.Bytes() }
