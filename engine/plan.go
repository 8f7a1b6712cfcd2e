package main

import (
	"encoding/json"
	"slices"
)

// scan says which columns of a table a statement reads, by their places in the table, and a condition without which it takes no row.
type scan struct {
	All     bool       `json:"all,omitempty"` // the plan could not be told: whatever it may be
	Columns []int      `json:"columns"`
	Where   *condition `json:"where,omitempty"`
	every   bool       // some scan of the table takes rows on no known condition
}

// plans is the answer of json_serialize_plan.
type plans struct {
	Error bool       `json:"error"`
	Plans []planNode `json:"plans"`
}

// planNode is what is wanted of a node of an optimized plan.
type planNode struct {
	Type     string     `json:"type"`
	Children []planNode `json:"children"`
	Name     string     `json:"name"`
	Function struct {
		Files []string `json:"files"`
	} `json:"function_data"`
	Columns []struct {
		Index uint64 `json:"index"`
	} `json:"column_indexes"`
	Filters tableFilters `json:"table_filters"`
}

// scans returns, for each table, what is read once the statement is optimized.
func (d *duck) scans(sql string, tables []table) ([]scan, error) {
	text, err := d.text("SELECT json_serialize_plan(" + literal(sql) + ", skip_default := true, optimize := true)::VARCHAR")
	if err != nil {
		return nil, err
	}
	out := make([]scan, len(tables))
	var p plans
	if err := json.Unmarshal([]byte(text), &p); err != nil || p.Error || len(p.Plans) == 0 {
		for i := range out {
			out[i] = scan{All: true, Columns: []int{}}
		}
		return out, nil //nolint:nilerr // a plan that has no text is run like any other
	}
	of := map[string]int{}
	for i, t := range tables {
		out[i].Columns = []int{}
		for _, fd := range t.fds {
			of[path(fd)] = i
		}
	}
	for _, n := range p.Plans {
		collect(n, of, out)
	}
	return out, nil
}

// maxColumn is beyond every real column: DuckDB numbers virtual ones, such as that of the row, from 2⁶³ on.
const maxColumn = 1 << 32

func collect(n planNode, of map[string]int, out []scan) {
	if n.Type == "LOGICAL_GET" && len(n.Function.Files) > 0 {
		s := &out[of[n.Function.Files[0]]]
		for _, c := range n.Columns {
			if c.Index < maxColumn && !slices.Contains(s.Columns, int(c.Index)) {
				s.Columns = append(s.Columns, int(c.Index))
			}
		}
		s.or(n.Filters.condition())
	}
	for _, c := range n.Children {
		collect(c, of, out)
	}
}

// or adds the condition of one more scan of the table; nil if it has none that is known.
func (s *scan) or(c *condition) {
	if s.every = s.every || c == nil; s.every {
		s.Where = nil
		return
	}
	if s.Where == nil {
		s.Where = &condition{}
	}
	s.Where.Any = append(s.Where.Any, *c)
}
