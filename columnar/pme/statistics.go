package pme

// Fields of Statistics. 1 and 2 are the bounds of readers from before 2017.
const (
	stMaxOld, stMinOld, stNulls                  = 1, 2, 3
	stMax, stMin, stMaxExact, stMinExact, stNaNs = 5, 6, 7, 8, 9
)

// Statistics is what the sealed metadata of a chunk says of its values, as whoever wrote it found them. In a chunk of a column that does
// not repeat, every value that is neither null nor NaN lies between Min and Max.
type Statistics struct {
	Min, Max []byte // in the plain encoding, without the length of a string; nil: not known
	Nulls    int64  // -1: not known
	NaNs     int64  // -1: not known
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

// Refine adds to the statistics of the only leaf of a column what its encoder left out: bounds, which need not be values of the column,
// and the count of NaN. What s does not know stays as it is; Nulls is not looked at. Call it before AppendRowGroup.
func (c *SealedColumn) Refine(s Statistics) {
	if len(c.leaves) != 1 {
		panic("pme: statistics for a column of several leaves")
	}
	c.leaves[0].meta.refined = &s
}

// replace writes an encoded Statistics struct with what s knows in place of its own.
func (s *Statistics) replace(e *encoder, raw []byte) {
	e.begin(cmStatistics)
	bounds := s.Min != nil || s.Max != nil
	var own [stNaNs + 1]field
	_ = fields(raw, func(f field) error {
		switch {
		case f.id > stNaNs || f.id < 0: // a later version of the format
		case bounds && (f.id == stMin || f.id == stMax || f.id == stMinOld || f.id == stMaxOld || f.id == stMinExact || f.id == stMaxExact):
		default:
			own[f.id] = f
		}
		return nil
	})
	for id, f := range own {
		switch {
		case id == stMax && s.Max != nil:
			e.binary(stMax, s.Max)
		case id == stMin && s.Min != nil:
			e.binary(stMin, s.Min)
		case id == stMaxExact && s.Max != nil, id == stMinExact && s.Min != nil:
			e.boolean(int16(id), false)
		case id == stNaNs && s.NaNs >= 0:
			e.integer(stNaNs, tI64, s.NaNs)
		case f.typ != 0:
			e.field(f)
		}
	}
	e.end()
}
