package daemon

// Metrics returns a snapshot of the agent's counters. Datasets is 0 while the vault is closed.
func (a *Agent) Metrics() Metrics {
	c := &a.counter
	m := Metrics{
		Uploads: c.uploads.Load(), Downloads: c.downloads.Load(), RowsIn: c.rowsIn.Load(), BytesIn: c.bytesIn.Load(),
		BytesStored: c.bytesStored.Load(), RowsOut: c.rowsOut.Load(), WritesOK: c.writesOK.Load(), WritesFailed: c.writesFailed.Load(),
	}
	a.mu.Lock()
	m.Unlocked = a.gate != nil
	open := a.session != nil
	a.mu.Unlock()
	if open {
		ids, _ := a.datasetIDs() // locked meanwhile: none
		m.Datasets = int64(len(ids))
	}
	if c, _ := a.cache.info(); c != nil {
		m.CacheUsed, m.CacheHit, m.CacheFetched = c.Used, c.Hit, c.Fetched
	}
	a.events.mu.Lock()
	m.Subscribers, m.EventsLogged = int64(len(a.events.subs)), int64(a.events.published)
	a.events.mu.Unlock()
	return m
}
