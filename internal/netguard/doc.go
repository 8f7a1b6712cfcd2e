// Package netguard decides which network addresses may be dialled (L14).
//
// An address that came with configuration can name a machine it should not: the cloud's metadata service, a router, a service on
// this machine. Names are looked up late and can change between two look-ups, so the check is made on the address that the kernel
// is about to connect to, in the Control hook of net.Dialer, for every connection. Addresses that carry an IPv4 address inside
// (mapped, compatible, translated, NAT64, 6to4, ISATAP) count as that address too.
package netguard
