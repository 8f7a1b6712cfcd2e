package daemon

import (
	"fmt"
	"runtime"
	"strings"

	"coldframe/internal/fault"
)

// guarded calls do and turns a panic, as of a reader of a hostile table, into fault.Internal: whoever holds a slot, a journal or a gate
// then lets go of them as after any other failure. The value of a panic may quote a table, so the log gets its type and the place.
func (a *Agent) guarded(do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			a.log.Error("panic in a transfer", "cause", fmt.Sprintf("%T at %s", p, panicPlace()))
			err = fault.New(fault.Internal, "the agent failed")
		}
	}()
	return do()
}

// panicPlace names the innermost functions of the panic that is being recovered from, without their arguments.
func panicPlace() string {
	pc := make([]uintptr, 32)
	frames := runtime.CallersFrames(pc[:runtime.Callers(3, pc)])
	var places []string
	for more := true; more && len(places) < 3; {
		var f runtime.Frame
		f, more = frames.Next()
		if !strings.HasPrefix(f.Function, "runtime.") {
			places = append(places, fmt.Sprintf("%s:%d", f.Function[strings.LastIndexByte(f.Function, '/')+1:], f.Line))
		}
	}
	return strings.Join(places, " < ")
}
