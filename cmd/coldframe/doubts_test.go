package main

import (
	"bytes"
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
		{Task: localapi.SyncFailureTaskVault, Code: "rolled_back"},
		{Task: localapi.SyncFailureTaskVault, Code: "forked"},
		{Task: localapi.SyncFailureTaskHeads, Code: "rolled_back"},
		{Task: localapi.SyncFailureTaskPrekeys, Code: "key_changed"},
		{Task: localapi.SyncFailureTaskPrekeys, Code: "conflict"},
	}})
	want := []string{"this machine: listed; 0 messages to be sent, 0 set aside", "vault: rolled_back" + olderSteps, "vault: forked" + apartSteps, "heads: rolled_back", "prekeys: key_changed" + otherKeysSteps, "prekeys: conflict" + otherKeysSteps}
	if !slices.Equal(got, want) || !strings.HasSuffix(olderSteps, "coldframe coordinator restore") {
		t.Errorf("%q, want %q", got, want)
	}
}

// Whatever command is refused because of what is not known of the vault says where to look; another fork does not, nor an error that has its own advice.
func TestRefusalsSayWhereToLook(t *testing.T) {
	const account = "contacts were told of another vault or device list of this account: a person has to look"
	refused := func(code, detail string) error {
		return &localapi.Error{Problem: localapi.Problem{Code: code, Title: code, Detail: &detail}}
	}
	for _, c := range []struct {
		err  error
		want bool
	}{
		{refused("forked", account), true},
		{refused("forked", "two versions with number 3"), false},
		{withRestoreAdvice(refused("forked", account)), false},
		{refused("stale", "nobody but the coordinator says that this vault is the newest: another of the user's machines has to"), true},
		{refused("stale", "the bundle was good until 2026-01-01"), false},
	} {
		var out bytes.Buffer
		(&app{err: &out}).report(c.err)
		if strings.Contains(out.String(), "coldframe coordinator show") != c.want {
			t.Errorf("%q", out.String())
		}
	}
}
