// Package coordinatortest is a coordinator for the tests of agents that does what a coordinator which nobody trusts may do: change, hold, drop, repeat and
// swap requests and answers, serve old ones, show different users different histories, and die at any moment. Nothing but tests may import it.
//
// Behind it is the real server over the real store in a folder of the test. In front of it is an HTTP server at one address, whatever happens behind. Every
// request becomes an Exchange, and the test's hook decides what becomes of it:
//
//	c := coordinatortest.New(t, coordinatortest.Options{})
//	alice := c.Register(coordinatortest.UserN(1), coordinator.Options{})
//	c.Hook(func(e *coordinatortest.Exchange) {
//		if e.Operation == "swapBlobs" && e.Caller == alice.User() {
//			e.Forward() // the server swaps
//			e.Drop()    // and the agent never hears of it
//		}
//	})
//
// A hook that does nothing lets the request through. What it can do:
//
//	change a request      e.Body = …, e.Header, e.Path, before e.Forward() or without it
//	change an answer      a := e.Forward(); a.Body = …
//	hold                  wait for something, and for e.Context().Done(), before or after e.Forward()
//	drop                  e.Drop() before the server acts; after e.Forward() it has acted; a.Cut ends an answer in its middle
//	repeat                e.Forward() twice: the server gets the request twice
//	answer by itself      e.Answer = coordinatortest.JSON(200, v), or coordinatortest.Problem(409, "conflict")
//	serve old answers     kept = e.Forward().Clone(); another time e.Answer = kept
//	change events         e.OnEvent = func(event string) string { … }, for streamEvents
//	ask another history   e.Branch = old, before e.Forward()
//
// Histories are branches. Branch.Fork copies one at a moment, with its sessions, as only a liar would; Coordinator.Serve lets users meet a branch from then on.
// A fork that only some meet is a forked view, one that is not written to any more is a frozen one, and to come back to an old one is a rollback. Tokens that
// were given out since the fork are not known in it.
//
// Branch.Restart and Branch.Kill end the server in and out of order, also from within a hook. A killed one leaves the folder as it is at that moment, and
// answers nobody; the next Start opens that folder.
//
// Every byte that reaches the front is kept. Coordinator.Leaks looks for texts and keys in them, in what JSON and base64 hide there, and in the store.
package coordinatortest
