package coldframe

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// The race detector runs under every test of `make test`; a run without it does not count as one.
func TestF25_RaceDetectorIsOn(t *testing.T) {
	if !raceDetector {
		t.Skip("run by `make test`, with -race")
	}
}

// docs/threats.csv lists exactly the rows of the threat model.
func TestThreatRowsAreListed(t *testing.T) {
	model, err := os.ReadFile("../shared/THREATS.md")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("the threat model is not beside this checkout")
	}
	listed, err := os.ReadFile("docs/threats.csv")
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for _, line := range strings.Fields(string(listed)) {
		id, _, _ := strings.Cut(line, ",")
		have[id] = true
	}
	rows := regexp.MustCompile(`(?m)^\| ([A-QS-Z][0-9]{2}) \|`).FindAllStringSubmatch(string(model), -1)
	for _, row := range rows {
		if !have[row[1]] {
			t.Errorf("docs/threats.csv lacks %s", row[1])
		}
		delete(have, row[1])
	}
	for id := range have {
		t.Errorf("docs/threats.csv has %s, the threat model has not", id)
	}
	if len(rows) < 100 {
		t.Fatalf("only %d rows found in the threat model", len(rows))
	}
}
