// Package storetest holds the suite that every columnar.Store passes, and stores that lie.
//
// Run asks for what the documentation of columnar.Store promises. Hostile wraps a good store and, by one hook for each operation,
// changes, cuts, extends, drops, delays, swaps names, gives back old content, and invents or hides objects in the listing: whoever
// reads through it must notice, because a store is trusted for nothing.
package storetest
