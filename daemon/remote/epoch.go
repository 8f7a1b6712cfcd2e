package remote

import "context"

// Epoch returns the name that the coordinator gives its history: another one than before says that it was restored from an older state.
func Epoch(ctx context.Context, client Client) (string, error) {
	c, err := client()
	if err != nil {
		return "", err
	}
	info, err := c.Info(ctx)
	return info.Epoch, failure(err)
}
