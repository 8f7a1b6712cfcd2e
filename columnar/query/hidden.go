package query

import "github.com/apache/arrow-go/v18/arrow"

// hidden returns the columns that a statement does not see: DuckDB reads decimals of more than 38 digits as doubles, and wrong ones.
func hidden(s *arrow.Schema) []string {
	var out []string
	for _, f := range s.Fields() {
		if misread(f.Type) {
			out = append(out, f.Name)
		}
	}
	return out
}

const maxDigits = 38

func misread(t arrow.DataType) bool {
	switch t := t.(type) {
	case *arrow.Decimal256Type:
		return t.Precision > maxDigits
	case *arrow.DictionaryType:
		return misread(t.ValueType)
	case arrow.ExtensionType:
		return misread(t.StorageType())
	case arrow.NestedType:
		for _, f := range t.Fields() {
			if misread(f.Type) {
				return true
			}
		}
	}
	return false
}
