package pme

// DataKeyCommitment is the commitment of a data key.
func DataKeyCommitment(dek, salt []byte, leaf uint32) []byte { return commitment(dek, salt, leaf) }
