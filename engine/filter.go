package main

import (
	"encoding/json"
	"math/big"
)

// condition is one of: All of some, Any of some, or a column compared with a literal. It is what is told of a filter; what has no such form
// is left out of All, and makes Any nothing.
type condition struct {
	All    []condition `json:"all,omitempty"`
	Any    []condition `json:"any,omitempty"`
	Column int         `json:"column"`
	Op     string      `json:"op,omitempty"` // = != < <= > >= null not_null
	Type   string      `json:"type,omitempty"`
	Scale  int         `json:"scale,omitempty"`
	Value  string      `json:"value,omitempty"`
}

// tableFilters are those that a scan applies to rows, each to one column, by its place in the table.
type tableFilters struct {
	Filters []struct {
		Key   uint64      `json:"key"`
		Value tableFilter `json:"value"`
	} `json:"filters"`
}

type tableFilter struct {
	Type       string        `json:"filter_type"`
	Comparison string        `json:"comparison_type"`
	Constant   constant      `json:"constant"`
	Child      *tableFilter  `json:"child_filter"`
	Children   []tableFilter `json:"child_filters"`
	Values     []constant    `json:"values"`
	Expression *expression   `json:"expr"`
}

type constant struct {
	Type struct {
		ID   string `json:"id"`
		Info *struct {
			Scale     int    `json:"scale"`
			Collation string `json:"collation"`
		} `json:"type_info"`
	} `json:"type"`
	Null  bool            `json:"is_null"`
	Value json.RawMessage `json:"value"`
}

// expression is one over a single column, which is its only reference.
type expression struct {
	Type     string       `json:"type"`
	Left     *expression  `json:"left"`
	Right    *expression  `json:"right"`
	Children []expression `json:"children"`
	Value    constant     `json:"value"`
	Returns  struct {
		ID   string          `json:"id"`
		Info json.RawMessage `json:"type_info"`
	} `json:"return_type"`
}

var (
	comparisons = map[string]string{
		"COMPARE_EQUAL": "=", "COMPARE_NOTEQUAL": "!=", "COMPARE_LESSTHAN": "<", "COMPARE_LESSTHANOREQUALTO": "<=",
		"COMPARE_GREATERTHAN": ">", "COMPARE_GREATERTHANOREQUALTO": ">=",
	}
	mirrored = map[string]string{"=": "=", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
)

// condition returns what is known of the filters of a scan; nil if nothing is.
func (f tableFilters) condition() *condition {
	var known []condition
	for _, c := range f.Filters {
		if c.Key < maxColumn {
			known = add(known, c.Value.of(int(c.Key)))
		}
	}
	return all(known)
}

func add(known []condition, c *condition) []condition {
	if c == nil {
		return known
	}
	return append(known, *c)
}

func all(known []condition) *condition {
	if len(known) == 0 {
		return nil
	}
	return &condition{All: known}
}

// either returns Any of n conditions; nil if one of them is not known.
func either(n int, known []condition) *condition {
	if n == 0 || len(known) != n {
		return nil
	}
	return &condition{Any: known}
}

// of returns what is known of the filter of a column. One that is optional is made of a condition that is looked at later.
func (f *tableFilter) of(column int) *condition {
	var known []condition
	switch f.Type {
	case "CONSTANT_COMPARISON":
		return f.Constant.compared(column, comparisons[f.Comparison])
	case "IS_NULL":
		return &condition{Column: column, Op: "null"}
	case "IS_NOT_NULL":
		return &condition{Column: column, Op: "not_null"}
	case "OPTIONAL_FILTER":
		if f.Child != nil {
			return f.Child.of(column)
		}
	case "CONJUNCTION_AND", "CONJUNCTION_OR":
		for _, c := range f.Children {
			known = add(known, c.of(column))
		}
		if f.Type == "CONJUNCTION_OR" {
			return either(len(f.Children), known)
		}
		return all(known)
	case "IN_FILTER":
		for _, v := range f.Values {
			known = add(known, v.compared(column, "="))
		}
		return either(len(f.Values), known)
	case "EXPRESSION_FILTER":
		if f.Expression != nil {
			return f.Expression.of(column)
		}
	}
	return nil
}

// of returns what is known of an expression that is to be true.
func (e *expression) of(column int) *condition {
	var known []condition
	switch e.Type {
	case "CONJUNCTION_AND", "CONJUNCTION_OR":
		for _, c := range e.Children {
			known = add(known, c.of(column))
		}
		if e.Type == "CONJUNCTION_OR" {
			return either(len(e.Children), known)
		}
		return all(known)
	case "COMPARE_IN":
		if len(e.Children) < 2 || !e.Children[0].isColumn() {
			return nil
		}
		for _, c := range e.Children[1:] {
			if c.Type == "VALUE_CONSTANT" {
				known = add(known, c.Value.compared(column, "="))
			}
		}
		return either(len(e.Children)-1, known)
	case "OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL":
		if len(e.Children) != 1 || !e.Children[0].isColumn() {
			return nil
		}
		if e.Type == "OPERATOR_IS_NULL" {
			return &condition{Column: column, Op: "null"}
		}
		return &condition{Column: column, Op: "not_null"}
	case "OPERATOR_NOT":
		if len(e.Children) == 1 && e.Children[0].isBoolean() {
			return &condition{Column: column, Op: "=", Type: "BOOLEAN", Value: "false"}
		}
	case "BOUND_REF":
		if e.isBoolean() {
			return &condition{Column: column, Op: "=", Type: "BOOLEAN", Value: "true"}
		}
	}
	return e.comparison(column)
}

func (e *expression) comparison(column int) *condition {
	op := comparisons[e.Type]
	if e.Type == "COMPARE_NOT_DISTINCT_FROM" {
		op = "=" // the constant is not null
	}
	switch {
	case op == "" || e.Left == nil || e.Right == nil:
		return nil
	case e.Left.isColumn() && e.Right.Type == "VALUE_CONSTANT":
		return e.Right.Value.compared(column, op)
	case e.Right.isColumn() && e.Left.Type == "VALUE_CONSTANT":
		return e.Left.Value.compared(column, mirrored[op])
	}
	return nil
}

// isColumn reports whether the expression is the column itself, without a cast or a collation.
func (e *expression) isColumn() bool {
	return e.Type == "BOUND_REF" && (e.Returns.ID != "VARCHAR" || e.Returns.Info == nil)
}

func (e *expression) isBoolean() bool { return e.isColumn() && e.Returns.ID == "BOOLEAN" }

// compared returns a column compared with the constant; nil if that has no simple form, or is null, with which nothing compares.
func (c constant) compared(column int, op string) *condition {
	out := &condition{Column: column, Op: op, Type: c.Type.ID}
	if i := c.Type.Info; i != nil {
		if out.Scale = i.Scale; i.Collation != "" {
			return nil
		}
	}
	var ok bool
	if out.Value, ok = c.text(); !ok || op == "" || c.Null {
		return nil
	}
	return out
}

// text returns the value: a number as it is written, a string as it is, 128 bits put together.
func (c constant) text() (string, bool) {
	if len(c.Value) == 0 {
		return "", false
	}
	switch c.Value[0] {
	case '"':
		var s string
		err := json.Unmarshal(c.Value, &s)
		return s, err == nil && c.Type.ID == "VARCHAR"
	case '{':
		var wide struct {
			Upper *int64  `json:"upper"`
			Lower *uint64 `json:"lower"`
		}
		if json.Unmarshal(c.Value, &wide) != nil || wide.Upper == nil || wide.Lower == nil {
			return "", false
		}
		n := new(big.Int).Lsh(big.NewInt(*wide.Upper), 64)
		return n.Add(n, new(big.Int).SetUint64(*wide.Lower)).String(), true
	case '[', 'n':
		return "", false
	}
	return string(c.Value), true
}
