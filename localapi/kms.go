package localapi

import "context"

// UnwrapKey returns the data key of another reader's file; the caller wipes it.
func (c *Client) UnwrapKey(ctx context.Context, r UnwrapRequest) ([]byte, error) {
	k, err := answer[UnwrappedKey](c.raw.UnwrapKey(ctx, r))
	return k.Key, err
}

// Files tells where the encrypted parts of a version lie; version 0 is the newest.
func (c *Client) Files(ctx context.Context, id string, version int64) (FileList, error) {
	return answer[FileList](c.raw.ListFiles(ctx, id, &ListFilesParams{Version: optional(version)}))
}
