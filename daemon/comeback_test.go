package daemon

import (
	"testing"

	"coldframe/coordinator/state"
	"coldframe/internal/fault"
)

// A machine that left the coordinator, and comes back to it, takes over what the user's other machine changed there meanwhile, if nothing changed here. If
// something did, it says that the two are apart, and nothing of either is lost.
func TestBackAtTheCoordinator(t *testing.T) {
	c := newCoordinator(t, state.Open)
	desk, laptop := deskAndLaptop(t, c, t.TempDir(), t.TempDir())
	leave := func() {
		t.Helper()
		if err := desk.DisconnectCoordinator(t.Context(), []byte(testPassword)); err != nil {
			t.Fatal(err)
		}
	}
	both := func(id string) {
		t.Helper()
		desk.settled()
		for name, a := range map[string]*running{"desk": desk, "laptop": laptop} {
			eventually(t, "the "+name+" has it", func() bool { return a.hasDataset(id) })
		}
	}
	leave()
	one := laptop.create("while the desk was away")
	desk.connect(c)
	both(one)
	both(desk.create("after it came back"))

	leave()
	apart := desk.create("changed apart")
	two := laptop.create("changed apart, too")
	desk.connect(c)
	eventually(t, "apart", func() bool { return desk.session.sync.failure(taskVault) == fault.Forked })
	desk.create("local still")
	for a, id := range map[*running]string{desk: apart, laptop: two} {
		if _, err := a.Dataset(t.Context(), user, id); err != nil {
			t.Error(err)
		}
	}
}
