package main

import (
	"slices"
	"testing"

	"coldframe/localapi"
)

// What does not agree is said with whose word it is, and with the command that ends it.
func TestDoubtsNameWhatEndsThem(t *testing.T) {
	who, yes := "5f0c2b52-3c0a-4d83-9a6e-6f0f6b0f8a11", true
	got := linesOfDoubt(&localapi.SyncStatus{
		Findings: []localapi.HeadFinding{
			{Object: "vault", Code: localapi.HeadFindingCodeForked, Contact: &who, Verified: &yes},
			{Object: "devices", Code: localapi.HeadFindingCodeForked, Contact: &who},
			{Object: "devices", Code: localapi.HeadFindingCodeForked, Contact: &who, Owner: &who},
			{Object: "vault", Code: localapi.HeadFindingCodeStale},
		},
		Refused: []localapi.RefusedSession{{Contact: &who, Code: localapi.RefusedSessionCodeRolledBack}, {Code: localapi.RefusedSessionCodeForked}},
	})
	want := []string{
		"vault: forked, says contact " + who + " (verified); once you know that it is not so: coldframe coordinator clear vault --contact " + who +
			", or for good: coldframe devices trust-vault. Until then nothing is written or sent",
		"devices: forked, says contact " + who + " (not verified); once you know that it is not so: coldframe coordinator clear devices --contact " + who +
			", or for good: coldframe devices trust-vault",
		"devices of contact " + who + ": forked, says contact " + who +
			" (not verified); once you know that it is not so: coldframe coordinator clear devices --owner " + who + " --contact " + who,
		"vault: stale",
		"session with " + who + ": rolled_back: coldframe contacts restart " + who,
		"prekeys: forked: coldframe coordinator restart-prekeys",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
