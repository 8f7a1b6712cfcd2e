// Package mlkem768 is ML-KEM-768 (FIPS 203) in two halves: most of a ciphertext can be made before most of the key has arrived (protocol
// notes, section 7.3). The post-quantum ratchet needs it, as it sends both in small chunks.
//
// # Terms
//
// An encapsulation key is t (1152 bytes) and ρ (32). The header (64) is ρ and SHA3-256 of the key; the vector (1152) is t. A ciphertext is
// c1 (960) and c2 (128): c1 and the shared secret follow from the header, c2 needs the vector. Between the halves one keeps the header
// and m, the 32 random bytes, which are as secret as the shared secret.
//
// # What is whose
//
// Keys and decapsulation are the standard library's. It has no encapsulation in halves, so that is circl's K-PKE.Encrypt, the one of
// Kyber's third round, which FIPS 203 took over unchanged; the tests compare every byte with the standard library.
//
// # What stays behind
//
// m, the hash of it and the shared secret are wiped here. What circl and the standard library hold of them on the stack meanwhile, and the
// expanded form of a decapsulation key, are not: they are overwritten, or collected, in time.
package mlkem768
