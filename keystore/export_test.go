package keystore

// KeyOf returns the key of a proof, to look for it where it must not be.
func KeyOf(p Proof) []byte { return p.key.Bytes() }

// Readable reports whether a reader of the vault would have to wait now.
func (v *Vault) Readable() bool {
	if !v.mu.TryRLock() {
		return false
	}
	v.mu.RUnlock()
	return true
}
