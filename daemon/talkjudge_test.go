package daemon

import (
	"crypto/sha256"
	"maps"
	"os"
	"strconv"
	"testing"
	"time"

	"coldframe/daemon/contacts"
)

// TestF03_KilledWhileTheySend runs two agents and a coordinator as processes. Two people send each other secrets without pause, while one of
// the three processes after the other is killed in a random moment and started again. Every secret whose sending was acknowledged comes,
// once and as it was, no other does, and no message key encrypts two messages.
func TestF03_KilledWhileTheySend(t *testing.T) {
	kills := 10
	if testing.Short() {
		kills = 3
	}
	if s := os.Getenv(killsVariable); s != "" {
		kills = atoi(t, s)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := newTalkRig(t, seed)
	r.befriend()
	begun := time.Now()
	r.killAtRandom(kills)
	took := time.Since(begun)
	begun = time.Now()
	r.settle()
	t.Logf("%d kills in %v (ada %d, grace %d, coordinator %d; %d during a call), settled in %v; slowest start %v", r.killed(),
		took.Round(time.Millisecond), r.kills[ada], r.kills[grace], r.kills[theCoordinator], r.sending, time.Since(begun).Round(time.Millisecond),
		r.slowest.Round(time.Millisecond))
	r.judge(kills)
}

// befriend makes contacts of the two, and lets them begin to send.
func (r *talkRig) befriend() {
	for who := range r.friends {
		r.ask(who, command{Do: "contact", Mail: mailOf(1 - who)}, "contact", func() bool { return r.friends[who] })
		r.talks[who].Peer = r.users[1-who]
	}
	for who := range r.friends {
		r.now[who].killed = true
		r.now[who].cmd.Process.Kill() //nolint:errcheck // hear says what became of it
	}
	r.until("both send", func() bool { return len(r.acked[ada]) > 0 && len(r.acked[grace]) > 0 })
}

// settle lets both end what they are at, and waits until nothing is left to be done.
func (r *talkRig) settle() {
	for who := range r.stopped {
		r.ask(who, command{Do: "stop"}, talkerNames[who]+" stopped", func() bool { return r.stopped[who] })
	}
	for who := range r.reports {
		r.ask(who, command{Do: "report"}, talkerNames[who]+" has nothing left to do", func() bool { return r.done(who) })
	}
	for who := range r.reports { // as it is in the end
		r.reports[who] = nil
		r.ask(who, command{Do: "report"}, "report", func() bool { return r.reports[who] != nil })
	}
}

// done reports whether an agent sent all and received as many as the other one sent.
func (r *talkRig) done(who int) bool {
	s := r.reports[who]
	return s != nil && s.Busy == "" && s.Outbox == 0 && len(s.Secrets) >= len(r.acked[who])+len(r.acked[1-who])
}

// judge compares what was acknowledged with what is there.
func (r *talkRig) judge(kills int) {
	lost, twice, other, unsent, acked, received := 0, 0, 0, 0, 0, 0
	for who, report := range r.reports {
		for from, user := range r.users {
			state := string(contacts.SecretReceived)
			if from == who {
				state = string(contacts.SecretSent)
			}
			count := map[string]int{}
			for _, s := range report.Secrets {
				if s.From != user {
					continue
				}
				count[s.Title]++
				n, err := strconv.Atoi(s.Title)
				_, body := talkSecret(user, n)
				if err != nil || !r.acked[from][n] || s.Sum != sha256.Sum256(body) {
					other++
				}
				if s.State != state {
					unsent++
				}
			}
			for n := range r.acked[from] {
				switch c := count[strconv.Itoa(n)]; {
				case c == 0:
					lost++
				case c > 1:
					twice++
				}
			}
			if from != who {
				acked += len(r.acked[from])
				received += len(count)
				twice += max(0, report.Events[EventSecretReceived]-len(count)) // what the person was told
			}
		}
		r.judgeEvents(who)
	}
	keysTwice := r.posts.twice()
	r.t.Logf("acknowledged %d, received %d, lost %d, twice %d, other than sent %d, not in their last state %d; %d posts with %d message keys, keys used twice %d",
		acked, received, lost, twice, other, unsent, r.posts.all, len(r.posts.keys), keysTwice)
	if lost+twice+other+unsent+keysTwice > 0 || r.posts.bad != nil {
		r.t.Errorf("lost, doubled or changed; %v", r.posts.bad)
	}
	if acked < kills/2 || len(r.posts.keys) < acked {
		r.t.Errorf("%d secrets in %d messages over %d kills: no load", acked, len(r.posts.keys), kills)
	}
}

// judgeEvents wants no agent to have suspected an honest coordinator or contact of anything.
func (r *talkRig) judgeEvents(who int) {
	report := r.reports[who]
	r.t.Logf("%s: %v", talkerNames[who], report.Events)
	if report.Aside > 0 {
		r.t.Errorf("%s set %d messages aside", talkerNames[who], report.Aside)
	}
	alarms := maps.Clone(report.Events)
	for _, usual := range []string{
		EventStarted, EventUnlocked, EventCoordinatorChanged, EventCoordinatorOnline, EventCoordinatorOffline, EventSecretReceived,
		EventMessageDropped, // its acknowledgement was lost
	} {
		delete(alarms, usual)
	}
	if len(alarms) > 0 {
		r.t.Errorf("%s: alarms %v", talkerNames[who], alarms)
	}
}
