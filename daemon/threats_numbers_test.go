package daemon

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"testing"

	"coldframe/coordinator/coordinatortest"
	"coldframe/internal/fault"
)

// renumbered changes every number of a name in an answer.
func renumbered(v any, name string, change func(float64) json.Number) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			renumbered(e, name, change)
		}
	case map[string]any:
		for key, e := range v {
			if n, ok := e.(float64); ok && key == name {
				v[key] = change(n)
				continue
			}
			renumbered(e, name, change)
		}
	}
}

// TestE06_NumbersOfTheCoordinator has the coordinator say other numbers of the vault's blobs and the device list's links: nothing is taken
// over of it, and nothing is lost by it.
func TestE06_NumbersOfTheCoordinator(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	ada := newPersonAt(t, c, "ada@example.org", nil)
	ada.settled()
	counter, hash, err := ada.vault.Head()
	if err != nil {
		t.Fatal(err)
	}
	list := ada.session.sync.member.Head()
	failed := func(task string) fault.Code {
		for _, f := range ada.session.sync.status().Failures {
			if f.Task == task {
				return f.Code
			}
		}
		return ""
	}
	numbers := map[string]func(float64) json.Number{
		"a jump":   func(n float64) json.Number { return jsonNumber(int64(n) + 1000) },
		"the next": func(n float64) json.Number { return jsonNumber(int64(n) + 1) },
		"maximum":  func(float64) json.Number { return jsonNumber(math.MaxInt64) },
		"too much": func(float64) json.Number { return "18446744073709551616" },
		"negative": func(n float64) json.Number { return jsonNumber(-int64(n)) },
		"minimum":  func(float64) json.Number { return jsonNumber(math.MinInt64) },
	}
	for _, place := range []struct{ operation, field, task string }{{"readBlobs", "counter", "vault"}, {"listDeviceLinks", "sequence", "devices"}} {
		for name, change := range numbers {
			c.Hook(coordinatortest.Nth(place.operation, 0, func(e *coordinatortest.Exchange) {
				a := e.Forward()
				var v any
				if a.Status != http.StatusOK || json.Unmarshal(a.Body, &v) != nil {
					return
				}
				renumbered(v, place.field, change)
				a.Body, _ = json.Marshal(v) // of what was JSON
			}))
			ada.session.sync.poke(allTasks)
			eventually(t, place.operation+": "+name+" fails", func() bool { return failed(place.task) != "" })
			if code := failed(place.task); code != fault.NotAuthentic && code != fault.Incomplete { // incomplete: no number of ours at all
				t.Errorf("%s: %s: %s", place.operation, name, code)
			}
			c.Hook(nil)
			ada.session.sync.poke(allTasks)
			ada.settled()
			if n, h, err := ada.vault.Head(); err != nil || n != counter || h != hash || ada.session.sync.member.Head() != list {
				t.Errorf("%s: %s: the vault is at %d, %v", place.operation, name, n, err)
			}
		}
	}
}

func jsonNumber(n int64) json.Number { return json.Number(strconv.FormatInt(n, 10)) }
