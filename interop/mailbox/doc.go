// Package mailbox has our agent's sessions and the official Signal client write to one another through a coordinator. It is tests alone.
//
// The coordinator is the real one (coordinatortest). Our end is daemon/messages over the adapters of daemon/remote, with a book of contacts
// that verifies whatever the coordinator hands out. Their end is libsignal in a process of node (interop/libsignal), with an account of its
// own: the test signs its prekeys as their owner would (docs/contacts.md), carries its messages between the process and the coordinator's
// client, and compares bodies with what a writer of its own makes, byte for byte as docs/messages.md has them.
//
// COLDFRAME_LIBSIGNAL and COLDFRAME_DIALOGUES are those of interop/dialogue.
package mailbox
