package daemon

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"time"

	"coldframe/daemon/link"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/secret"
	"coldframe/internal/signed"
	"coldframe/keystore"
)

const (
	kindCoordinator = keystore.KindReplica
	itemCoordinator = "coordinator"

	// logoutTime is how long a coordinator that is left has to hear of it; its sessions end by themselves after two days.
	logoutTime = 5 * time.Second
)

// coordinatorItem is the body of the coordinator's vault item.
type coordinatorItem struct {
	URL string `cbor:"1,keyasint"`
	CA  string `cbor:"2,keyasint,omitempty"`
}

func (i coordinatorItem) put(tx *keystore.Tx) error {
	body, err := signed.Marshal(i)
	if err != nil {
		return err
	}
	return tx.Put(keystore.Item{ID: itemCoordinator, Kind: kindCoordinator, Body: body})
}

func (i coordinatorItem) settings() link.Settings { return link.Settings{URL: i.URL, CA: i.CA} }

// running is a link at work. The zero value is none.
type runningLink struct {
	*link.Link
	url    string
	cancel context.CancelFunc
	done   chan struct{}
}

// stop ends the link's work and waits for it.
func (r runningLink) stop() {
	if r.cancel != nil {
		r.cancel()
		<-r.done
	}
}

// stopped reports whether the link's work has ended.
func (r runningLink) stopped() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

func (a *Agent) coordinatorPolicy() link.Policy {
	c := a.cfg.Coordinator
	return link.Policy{AllowPrivate: c.AllowPrivate, AllowLoopback: c.AllowLoopback, AllowPlainHTTP: c.AllowPlainHTTP}
}

// hasCoordinator reports whether the open vault names a coordinator.
func (a *Agent) hasCoordinator() bool {
	_, err := a.coordinatorItem()
	return err == nil
}

func (a *Agent) coordinatorItem() (coordinatorItem, error) {
	var item coordinatorItem
	it, err := a.vault.Get(itemCoordinator)
	if errors.Is(err, fault.NotFound) {
		return item, fault.New(fault.NotFound, "no coordinator is set")
	}
	if err != nil {
		return item, err
	}
	return item, signed.Unmarshal(it.Body, &item)
}

func (a *Agent) newLink(s *session, settings link.Settings) (*link.Link, error) {
	hash, err := keystore.EmailHash(a.vault.Email())
	if err != nil {
		return nil, err
	}
	device, err := a.deviceID(s.user)
	if err != nil {
		return nil, err
	}
	return link.New(link.Options{
		Settings: settings, Policy: a.coordinatorPolicy(), User: s.user, Device: device, EmailHash: hash[:],
		Store: linkStore{a, s, settings.URL}, Now: a.clock.Now,
		Changed: a.linkChanged,
		Notice:  s.sync.notice, Online: s.sync.online,
	})
}

// startLink connects a session that was just opened to its coordinator, if it has one. It takes the proof.
func (a *Agent) startLink(s *session, proof keystore.Proof) {
	defer proof.Wipe()
	item, err := a.coordinatorItem()
	if errors.Is(err, fault.NotFound) {
		return
	}
	var l *link.Link
	if err == nil && s.readOnly {
		err = s.writable()
	}
	if err == nil {
		l, err = a.newLink(s, item.settings())
	}
	if err != nil {
		a.log.Warn("coordinator not used", failure(err)...)
		s.mu.Lock()
		s.linkURL, s.linkErr = item.URL, fault.CodeOf(err)
		s.mu.Unlock()
		return
	}
	if !proof.IsZero() {
		a.giveProof(l, item.URL, proof)
	}
	a.runLink(s, l, item.URL)
}

// runLink lets a link work until it is stopped or its session closes.
func (a *Agent) runLink(s *session, l *link.Link, url string) {
	present, ctx, leave, ok := a.enterWork(context.Background())
	if !ok {
		return
	}
	if present != s { // the call of a session that was closed meanwhile, whose keys are gone
		leave()
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	r := runningLink{Link: l, url: url, cancel: cancel, done: make(chan struct{})}
	s.mu.Lock()
	s.link, s.linkURL, s.linkErr = r, url, ""
	s.mu.Unlock()
	go func() {
		defer leave()
		defer close(r.done)
		l.Run(ctx)
	}()
}

func (s *session) currentLink() runningLink {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.link
}

// coordinatorStatus returns what is known of the coordinator; nil if none is set.
func (s *session) coordinatorStatus() *CoordinatorStatus {
	s.mu.RLock()
	defer s.mu.RUnlock()
	switch {
	case s.linkErr != "":
		return &CoordinatorStatus{URL: s.linkURL, State: string(link.Refused), Since: s.opened, Error: s.linkErr}
	case s.link.Link == nil:
		return nil
	}
	st := s.link.Status()
	return &CoordinatorStatus{URL: s.link.url, State: string(st.State), Since: st.Since, Error: st.Error}
}

// Coordinator returns the setting and the state of the link; fault.NotFound if there is none.
func (a *Agent) Coordinator(ctx context.Context) (CoordinatorInfo, error) {
	s, _, leave, err := a.enter(ctx)
	if err != nil {
		return CoordinatorInfo{}, err
	}
	defer leave()
	return a.coordinatorInfo(s)
}

func (a *Agent) coordinatorInfo(s *session) (CoordinatorInfo, error) {
	item, err := a.coordinatorItem()
	if err != nil {
		return CoordinatorInfo{}, err
	}
	info := CoordinatorInfo{CA: item.CA, CoordinatorStatus: CoordinatorStatus{URL: item.URL}, Sync: s.sync.status()}
	if st := s.coordinatorStatus(); st != nil {
		info.CoordinatorStatus = *st
	}
	return info, nil
}

// ConnectCoordinator makes this account at a coordinator, or logs in if it is there already, keeps the setting in the vault and stays
// connected. Nothing is sent before the password is known to be right (V11). A coordinator of before is left. Password is wiped.
func (a *Agent) ConnectCoordinator(ctx context.Context, r CoordinatorRequest) (CoordinatorInfo, error) {
	defer clear(r.Password)
	defer clear(r.Kit)
	settings, err := link.Settings{URL: r.URL, CA: r.CA}.Normal(a.coordinatorPolicy())
	if err != nil {
		return CoordinatorInfo{}, err
	}
	kit, err := a.ownKit(r.Kit)
	if err != nil {
		return CoordinatorInfo{}, err
	}
	if kit != nil {
		defer kit.Wipe()
	}
	s, ctx, leave, err := a.enter(ctx)
	if err != nil {
		return CoordinatorInfo{}, err
	}
	defer leave()
	if s.readOnly { // a vault that nobody vouched for yet may get another setting: it may be what keeps it from that
		return CoordinatorInfo{}, s.writable()
	}
	if err := passwordGiven(r.Password); err != nil {
		return CoordinatorInfo{}, err
	}
	s.joining.Lock()
	defer s.joining.Unlock()
	proof, err := a.vault.LoginProof(ctx, r.Password) // with joining held: no change of the password comes in between
	if err != nil {
		return CoordinatorInfo{}, err
	}
	defer proof.Wipe()
	if err := errors.Join(a.mayJoin(settings.URL), a.needsKit(ctx, kit)); err != nil {
		return CoordinatorInfo{}, err
	}
	if err := a.join(ctx, s, settings, proof, r.Invitation, kit); err != nil {
		return CoordinatorInfo{}, ended(ctx, err)
	}
	return a.coordinatorInfo(s)
}

// join is the part of ConnectCoordinator after the checks. s.joining is held.
func (a *Agent) join(
	ctx context.Context, s *session, settings link.Settings, proof keystore.Proof, invitation string, kit *keystore.RecoveryKit,
) error {
	l, err := a.newLink(s, settings)
	if err != nil {
		return err
	}
	old, err := a.coordinatorItem()
	if err != nil && !errors.Is(err, fault.NotFound) {
		return err
	}
	// Before anything is sent: the account may be made there and the answer lost.
	if err := a.db.Update(func(tx *kv.Tx) error { return s.noteJoined(tx, old.URL, settings.URL) }); err != nil {
		return err
	}
	before := s.currentLink()
	if before.url == settings.URL {
		before.stop() // two links would exchange the same refresh token; one to another coordinator goes on meanwhile
	}
	own := proof.For(settings.URL)
	defer own.Wipe()
	if err = l.Join(ctx, own, invitation); err == nil {
		err = a.setRecovery(ctx, l, settings.URL, own, kit)
	}
	if err == nil {
		before.stop()
		err = a.switchLink(ctx, s, l, before, coordinatorItem{URL: settings.URL, CA: settings.CA}, old)
	}
	if err != nil {
		if before.Link != nil {
			before.Give(proof.For(before.url)) // it may have waited for one
		}
		a.resume(s, before)
		return forCaller(err)
	}
	a.linkLog.forget()
	err = a.setHome(settings.URL) // before the vault is given to it
	a.runLink(s, l, settings.URL)
	a.log.Info("coordinator joined")
	if before.Link != nil && before.url != settings.URL {
		a.logout(ctx, before)
	}
	return err
}

// switchLink saves the setting of a link that has joined. A vault that is kept there changes there, so the link is in place before.
func (a *Agent) switchLink(ctx context.Context, s *session, l *link.Link, before runningLink, item, old coordinatorItem) error {
	if item == old {
		return nil
	}
	s.mu.Lock()
	s.link = runningLink{Link: l, url: item.URL}
	s.mu.Unlock()
	err := a.saveCoordinator(ctx, &item, old.URL)
	if err != nil {
		s.mu.Lock()
		s.link = before
		s.mu.Unlock()
	}
	return err
}

// homeKey names the coordinator that keeps, or kept, the vault: SHA-256 of its address. Sessions and devices are there.
const homeKey = "meta/coordinator-home"

// mayJoin is fault.Conflict for a coordinator other than the one that keeps the vault, or kept it: sessions, prekeys and the device list are
// there, under marks that only go up, and a coordinator that starts them again looks like one that went back.
func (a *Agent) mayJoin(url string) error {
	home := sha256.Sum256([]byte(url))
	return a.db.View(func(tx *kv.Tx) error {
		at, err := tx.Get(homeKey)
		if errors.Is(err, fault.NotFound) || err == nil && bytes.Equal(at, home[:]) {
			return nil
		}
		if err != nil {
			return err
		}
		return fault.New(fault.Conflict, "an account stays at the coordinator that it joined first: its contacts and devices are there; go on at the address of that one, or without a coordinator")
	})
}

// joinVault gives the vault to the coordinator. One that was left, and has not changed there since, takes what changed here; one that has takes the place
// of this one if nothing changed here.
func (a *Agent) joinVault(ctx context.Context) error {
	item, err := a.coordinatorItem()
	if err != nil {
		return err
	}
	if err := a.setHome(item.URL); err != nil {
		return err
	}
	if err := a.vault.Join(ctx); err != nil {
		return err
	}
	if there, err := a.coordinatorItem(); err == nil && there == item {
		return nil
	}
	return a.saveCoordinator(ctx, &item, item.URL) // the vault that was taken over has the certificates of before
}

func (a *Agent) setHome(url string) error {
	home := sha256.Sum256([]byte(url))
	return a.db.Update(func(tx *kv.Tx) error { return tx.Set(homeKey, home[:]) })
}

// ownKit reads a recovery kit, if there is one, which must be this user's.
func (a *Agent) ownKit(text []byte) (*keystore.RecoveryKit, error) {
	kit, err := optionalKit(text)
	if err == nil && kit != nil && kit.UserID != a.vault.UserID() {
		kit.Wipe()
		err = fault.New(fault.InvalidRequest, "the recovery kit is another user's")
	}
	return kit, err
}

// setRecovery lets the recovery kit log in as well. What it proves is in no vault: a machine that was removed had the vault.
func (a *Agent) setRecovery(ctx context.Context, l *link.Link, url string, proof secret.Key, kit *keystore.RecoveryKit) error {
	if kit == nil {
		return nil
	}
	recovery := kit.Proof()
	defer recovery.Wipe()
	own := recovery.For(url)
	defer own.Wipe()
	if err := l.SetRecovery(ctx, proof, own); err != nil {
		return err
	}
	return a.kitGiven()
}

// resume lets a link work again, if it was stopped.
func (a *Agent) resume(s *session, r runningLink) {
	if r.Link != nil && r.stopped() {
		a.runLink(s, r.Link, r.url)
	}
}

// forCaller keeps a coordinator's `unauthorized` from looking like a wrong token of the local API, where it is the answer to a login.
func forCaller(err error) error {
	if e, ok := errors.AsType[*fault.Error](err); ok && e.Code == fault.Unauthorized {
		return fault.Wrap(fault.Forbidden, err, "%s", e.Detail)
	}
	return err
}

// orLoggedOut is forCaller for other calls: the session has ended, and the link logs in again or waits for the password.
func orLoggedOut(err error) error {
	if e, ok := errors.AsType[*fault.Error](err); ok && e.Code == fault.Unauthorized {
		return fault.Wrap(fault.Unavailable, err, "%s", e.Detail)
	}
	return err
}

// saveCoordinator puts another setting, or none, in the place of the present one, and forgets its tokens.
func (a *Agent) saveCoordinator(ctx context.Context, item *coordinatorItem, before string) error {
	err := a.vault.UpdateContext(ctx, func(tx *keystore.Tx) error {
		a.events.stageWith(tx, Event{Type: EventCoordinatorChanged})
		if item == nil {
			return errors.Join(tx.Delete(itemCoordinator), forgetTokens(tx.KV(), before))
		}
		var err error
		if before != "" && before != item.URL {
			err = forgetTokens(tx.KV(), before)
		}
		return errors.Join(err, item.put(tx))
	})
	if err == nil {
		a.publish()
	}
	return err
}

// logout tells a coordinator that is left; if that fails, its session ends by itself.
func (a *Agent) logout(ctx context.Context, r runningLink) {
	ctx, cancel := context.WithTimeout(ctx, logoutTime)
	defer cancel()
	if err := r.Logout(ctx); err != nil {
		a.log.Warn("not logged out of the coordinator", failure(err)...)
	}
}

// DisconnectCoordinator logs out and removes the setting; the account at the coordinator stays. Password is wiped.
func (a *Agent) DisconnectCoordinator(ctx context.Context, password []byte) error {
	defer clear(password)
	s, ctx, leave, err := a.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if err := errors.Join(s.editable(), a.passwordAgain(ctx, password)); err != nil {
		return err
	}
	s.joining.Lock()
	defer s.joining.Unlock()
	item, err := a.coordinatorItem()
	if err != nil {
		return err
	}
	before := s.currentLink()
	before.stop()
	err = a.db.Update(func(tx *kv.Tx) error { return s.noteJoined(tx, item.URL) })
	if err == nil {
		err = a.vault.Leave()
	}
	if err == nil {
		err = a.saveCoordinator(ctx, nil, item.URL)
	}
	if err != nil {
		a.resume(s, before)
		return err
	}
	s.mu.Lock()
	s.link, s.linkURL, s.linkErr = runningLink{}, "", ""
	s.mu.Unlock()
	a.linkLog.forget()
	a.log.Info("coordinator left")
	if before.Link != nil {
		a.logout(ctx, before)
	}
	return nil
}

// holdJoining keeps any coordinator from being joined or left until release is called.
func (s *session) holdJoining() (release func(), err error) {
	if !s.joining.TryLock() {
		return nil, fault.New(fault.Busy, "a coordinator is being joined or left; try again after that")
	}
	return s.joining.Unlock, nil
}

// changePassword replaces the password. The coordinators that know the account are told the new login proof when they are there; while one
// is being joined with the former it is fault.Busy.
func (a *Agent) changePassword(ctx context.Context, s *session, old, replacement []byte) error {
	if !s.joining.TryLock() {
		return fault.New(fault.Busy, "a coordinator is being joined; change the password after that")
	}
	defer s.joining.Unlock()
	known, err := a.knownCoordinators(s)
	if err != nil {
		return err
	}
	if len(known) == 0 {
		return a.vault.ChangePassword(ctx, old, replacement)
	}
	err = a.vault.ChangePasswordForLogin(ctx, old, replacement, func(tx *kv.Tx, before, after keystore.Proof) error {
		return a.addProofs(s, tx, before, after)
	})
	if err != nil {
		return err
	}
	if l := s.currentLink(); l.Link != nil {
		l.Wake()
	}
	return nil
}

// knownCoordinators returns those that a password change concerns. The one that is set is noted first: this machine may have its setting from
// a backup or from another device.
func (a *Agent) knownCoordinators(s *session) (list []string, err error) {
	item, err := a.coordinatorItem()
	switch {
	case errors.Is(err, fault.NotFound):
	case err != nil:
		return nil, err
	default:
		if err := a.db.Update(func(tx *kv.Tx) error { return s.noteJoined(tx, item.URL) }); err != nil {
			return nil, err
		}
	}
	err = a.db.View(func(tx *kv.Tx) (err error) {
		list, err = s.joined(tx)
		return err
	})
	return list, err
}

// wakeLink makes the link look at once whether its connection still lives.
func (a *Agent) wakeLink() {
	a.mu.Lock()
	s := a.session
	a.mu.Unlock()
	if s == nil {
		return
	}
	if l := s.currentLink(); l.Link != nil {
		l.Wake()
	}
}

// linkEvents are what the log gets of a link's states; connecting is none.
var linkEvents = map[link.State]string{
	link.Online: EventCoordinatorOnline, link.Offline: EventCoordinatorOffline, link.Refused: EventCoordinatorOffline,
	link.LoginNeeded: EventCoordinatorLogin,
}

// linkChanged makes an event of a state. A coordinator that comes and goes must not wash the log out: after a few events at once there
// is one in ten minutes, of the state at that time.
func (a *Agent) linkChanged(st link.Status) {
	if st.State == link.Online {
		a.notDeleted()
	}
	typ, ok := linkEvents[st.State]
	if !ok {
		return
	}
	if e, due := a.linkLog.take(Event{Type: typ, Code: st.Error}, a.clock.Monotonic()); due {
		a.event(e)
	}
}

// reportLink makes the event that linkChanged kept back, once its time has come.
func (a *Agent) reportLink() {
	if e, due := a.linkLog.held(a.clock.Monotonic()); due {
		a.event(e)
	}
}
