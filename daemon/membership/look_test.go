package membership

import "context"

// Code returns the pairing code again, while this machine asks; the caller wipes it. fault.NotFound: it does not.
func (m *Member) Code(ctx context.Context) ([]byte, error) {
	_, leave, err := m.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	c, err := m.device.Code()
	defer c.Wipe()
	if err != nil {
		return nil, err
	}
	return c.Text(), nil
}
