// Package membership keeps this machine's place among the user's devices: it begins the device list or asks to be on it, follows it,
// changes it, and holds the state key. Formats and rules are those of package devices; docs/devices.md, "Life of a device", has the
// order of writing and what each crash leaves. It does no network I/O of its own: links and records go through Links and Records.
//
// # Terms
//
// The list is what this machine verified, link by link; what it must not forget of it lies in the Memory. Another place to remember
// the newest link (the head) is the vault, where all devices of the user note it: Remembered and Note. A pending update is a link that was
// signed and may be at the coordinator: it is in the Memory before it leaves, and is sent again, the same bytes, until it was taken or
// another link has its place. So a change that was interrupted is finished by the next Sync, and its wraps record is not written over.
//
// # Trust
//
// The coordinator is believed in nothing. A list that goes back is fault.RolledBack, one that branches fault.Forked, and a fork stays one
// until a person resets this machine (Reset). A recovery, by which somebody with password and kit removes all devices at once, is followed
// only when a person said so (AcceptRecovery). While anything of that kind is wrong, Current gives no key, so that nothing new is sealed.
package membership
