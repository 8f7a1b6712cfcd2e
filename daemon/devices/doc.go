// Package devices holds what makes several machines one user: the device key of this machine, the signed list of the user's devices,
// the state key that the listed devices share, and the approval of a new one. It does no network I/O; the file of the device key is
// its own. docs/devices.md has the formats byte for byte, the reasons, and what each attacker can still do.
//
// # Terms
//
// A device has a device key: an HPKE pair (X25519 with ML-KEM-768) that receives the state key, and an Ed25519 author key that
// signs the links this device makes. Both are made on the device and never leave it (Device). The device list is a chain of links;
// each names the devices, the ids that were removed for ever, the epoch of the state key and a commitment to it, and is signed by the user
// and, inside, by the device that made it (List). The wraps record lies beside a link and is named by it: the public keys, the names
// and the state key wrapped to each device, sealed under the vault (Record). The state key seals what the devices share and a password
// must not open; a Ring holds the present one and, until everything was sealed again, the former.
//
// # Two signatures
//
// The user's signing key lies in the vault, and a removed device had the vault. So a link also needs the author key of a device that the
// link before lists: a removed device, with all keys it ever had and the coordinator's help, cannot go on with the list it was
// removed from. The one exception is a recovery, by which a user who lost every device starts again with one: it keeps nothing of what was
// there, and no device that is listed follows it by itself.
//
// # Order
//
//	Device.Stage             the next device key is durable
//	List.Sign                the new link and its wraps record
//	wraps record, then link  to the coordinator: the caller's
//	Device.Settle            the next key is the present one, the former is kept
//	Ring.Advance             if the state key is a new one
//	sealing again            the caller's
//	Ring.EraseFormer, Device.EraseFormer
//
// A link that lost to another (conflict) is dropped: take over the other, and sign again with the same staged key.
//
// A new device: CreateDevice, OpenList, Device.Ask; on an old one OpenRequest, Request.Approve with the code that the user typed in,
// List.Sign; on the new one Device.Follow, OpenRecord, Record.Unwrap.
//
// Values of this package are not for several goroutines at once, except for List and Record, which never change.
package devices
