// Package dialogue holds conversations between package ratchet and the official Signal client, and between any two such peers. It is tests
// alone: each peer is reached through the lines of interop/signalpeer, ours in this process and libsignal's in a process of node
// (interop/libsignal), so the same test runs between ours and libsignal's in both roles, and between two of a kind, which shows that a
// failure is not the harness's. Package mailbox is the same with a coordinator between the two.
//
// COLDFRAME_LIBSIGNAL names the folder that interop/libsignal/install printed; without it what needs libsignal is skipped, and fails if CI
// is "true". COLDFRAME_DIALOGUES=full makes the dialogues as long as the project promises (make interop does); else they are short.
package dialogue
