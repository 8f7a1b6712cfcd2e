// Package kv is the agent's local store: Badger, with the options of THREATS section 7 and the rules of the threat model about
// disks.
//
// # Terms
//
// A transaction (Update) is durable when it returns nil: synced to the disk, whole. It is applied whole or not at all, also over a
// crash. Transactions that write run one after the other, so they never conflict. A view (View) sees one moment and does not wait.
//
// # Disks that are full or broken
//
// Badger writes through memory maps: on a full disk the system kills the process (SIGBUS). So the free space is measured before
// every write and before opening; below the reserve the answer is fault.StorageFull, reads go on, and writes work again as soon as
// there is room. What was written over is dead in the files until it is cleaned up; writes leave room for that too, so that it goes on
// while they are refused. After a failed write or fsync nobody knows what the disk holds: the write is reported as not durable, is never
// tried again, and the store refuses writes and reads until it was opened anew, which reads what really is there (THREATS R19).
//
// # Damage
//
// Badger takes damaged files for shorter ones: it drops the end of its write-ahead file, or whole tables, and says nothing. So each
// transaction records its number and the sum of all records, and the highest number that was acknowledged is in a file beside the
// store (ACKNOWLEDGED). Opening compares all three: what lost a transaction or a record is fault.RolledBack. A store whose files are
// gone altogether, that file with them, is a new one: whoever must notice keeps a mark of their own elsewhere, as the vault does with
// its anchor. The check is against damage, not against people, and it does not see a value that is damaged: reading that is an error.
// A disk that cannot read a page of a mapped file ends the process.
//
// # What is in the files
//
// Badger keeps deleted values in its files for a while and takes no part in secrecy: whatever is secret is sealed before it comes
// here. A record that is absent proves nothing (THREATS R10).
package kv
