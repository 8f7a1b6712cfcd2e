package main

import (
	"slices"
	"strings"
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

// An older vault at the coordinator is said with the command that a restored one wants; another task that failed, or the vault for another reason, without.
func TestSyncNamesRestore(t *testing.T) {
	got := linesOfSync(&localapi.SyncStatus{Device: "listed", Failures: []localapi.SyncFailure{
		{Task: localapi.SyncFailureTaskVault, Code: "rolled_back"}, {Task: localapi.SyncFailureTaskVault, Code: "forked"}, {Task: localapi.SyncFailureTaskHeads, Code: "rolled_back"},
	}})
	want := []string{"this machine: listed; 0 messages to be sent, 0 set aside", "vault: rolled_back" + olderSteps, "vault: forked", "heads: rolled_back"}
	if !slices.Equal(got, want) || !strings.HasSuffix(olderSteps, "coldframe coordinator restore") {
		t.Errorf("%q, want %q", got, want)
	}
}
