package columnar

// AADPrefix and KeyCommitment are what docs/vectors/column has cases for.
func AADPrefix(d DatasetID, v Version, n ObjectName) []byte { return aadPrefix(d, v, n) }

func KeyCommitment(k NamedKey) Hash { return k.ref().Commitment }
