package pme

// Fields of Statistics.
const stNulls, stMax, stMin, stMaxExact, stMinExact, stNaNs = 3, 5, 6, 7, 8, 9

// Statistics is what the sealed metadata of a chunk says of its values, as whoever wrote it found them. In a chunk of a column that does
// not repeat, every value that is neither null nor NaN lies between Min and Max.
type Statistics struct {
	Min, Max []byte // in the plain encoding, without the length of a string; nil: not known
	Nulls    int64  // -1: not known
	NaNs     int64  // -1: not known

	// MinCut and MaxCut say that a bound is no value of the chunk: one of a long value is cut. They are told to other readers only.
	MinCut, MaxCut bool
}

// Statistics returns those of the chunk of a leaf. Nothing is known of a hidden one, nor from statistics that are damaged.
func (f *File) Statistics(rowGroupOrdinal, leaf int) Statistics {
	unknown := Statistics{Nulls: -1, NaNs: -1}
	if f.leaves[leaf].hidden {
		return unknown
	}
	s := unknown
	err := fields(f.groups[rowGroupOrdinal].chunks[leaf].metadata, func(f field) error {
		if f.id != cmStatistics {
			return nil
		}
		b, err := f.nested()
		if err != nil {
			return err
		}
		return s.parse(b)
	})
	if err != nil {
		return unknown
	}
	return s
}

func (s *Statistics) parse(b []byte) error {
	return fields(b, func(f field) (err error) {
		switch f.id {
		case stNulls:
			s.Nulls, err = f.integer(tI64)
		case stNaNs:
			s.NaNs, err = f.integer(tI64)
		case stMin:
			s.Min, err = f.binary()
		case stMax:
			s.Max, err = f.binary()
		}
		return err
	})
}

// encode writes what s knows as a field of ColumnMetaData.
func (s *Statistics) encode(e *encoder) {
	e.begin(cmStatistics)
	if s.Nulls >= 0 {
		e.integer(stNulls, tI64, s.Nulls)
	}
	if s.Max != nil {
		e.binary(stMax, s.Max)
	}
	if s.Min != nil {
		e.binary(stMin, s.Min)
	}
	if s.Max != nil {
		e.boolean(stMaxExact, !s.MaxCut)
	}
	if s.Min != nil {
		e.boolean(stMinExact, !s.MinCut)
	}
	if s.NaNs >= 0 {
		e.integer(stNaNs, tI64, s.NaNs)
	}
	e.end()
}
