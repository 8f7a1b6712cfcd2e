package localapi

import "context"

// PrepareImport hands over the keys of an encrypted Parquet file and returns the id that one Put may name.
func (c *Client) PrepareImport(ctx context.Context, r ImportRequest) (Import, error) {
	return answer[Import](c.raw.PrepareImport(ctx, r))
}
