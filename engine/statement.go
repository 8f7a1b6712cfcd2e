package main

import (
	"encoding/json"
	"slices"
	"strings"
)

// names are what a statement reads from.
type names struct {
	Tables []string `json:"tables"` // each once, as written
	Local  []string `json:"local"`  // named in the statement itself, by WITH
}

// tableFunctions are those that a statement may read from. All others are refused: they read files, settings or logs, or run other SQL.
var tableFunctions = []string{"unnest", "range", "generate_series", "json_each", "json_tree"}

// judge returns what a statement reads from, or why it is refused. It is DuckDB's own parser that says what the statement is.
func (d *duck) judge(sql string) (*names, error) {
	text, err := d.text("SELECT json_serialize_sql(" + literal(sql) + ")::VARCHAR")
	if err != nil {
		return nil, err
	}
	var parsed struct {
		Error      bool   `json:"error"`
		Type       string `json:"error_type"`
		Message    string `json:"error_message"`
		Statements []any  `json:"statements"`
	}
	if err := json.Unmarshal([]byte(text), &parsed); err != nil {
		return nil, refuse("the statement is nested too deep")
	}
	switch {
	case parsed.Error && parsed.Type == "parser":
		return nil, refuse(oneLine(parsed.Message))
	case parsed.Error:
		return nil, forbid("only SELECT is allowed")
	case len(parsed.Statements) != 1:
		return nil, refuse("exactly one statement is needed")
	}
	n := &names{Tables: []string{}, Local: []string{}}
	if err := n.walk(parsed.Statements[0]); err != nil {
		return nil, err
	}
	return n, nil
}

// walk looks at every node of the tree.
func (n *names) walk(node any) error {
	switch node := node.(type) {
	case []any:
		for _, child := range node {
			if err := n.walk(child); err != nil {
				return err
			}
		}
	case map[string]any:
		if err := n.visit(node); err != nil {
			return err
		}
		for _, child := range node {
			if err := n.walk(child); err != nil {
				return err
			}
		}
	}
	return nil
}

func (n *names) visit(node map[string]any) error {
	switch node["type"] {
	case "SHOW_REF":
		return forbid("only SELECT is allowed")
	case "TABLE_FUNCTION":
		function, _ := node["function"].(map[string]any)
		name, _ := function["function_name"].(string)
		if !slices.Contains(tableFunctions, strings.ToLower(name)) || function["schema"] != "" || function["catalog"] != "" {
			return forbid("the table function " + name + " is not allowed")
		}
	case "BASE_TABLE":
		name, _ := node["table_name"].(string)
		if node["schema_name"] != "" || node["catalog_name"] != "" {
			return forbid("a table is a dataset, named by its title or id, without a schema")
		}
		if !slices.Contains(n.Tables, name) {
			n.Tables = append(n.Tables, name)
		}
	}
	if ctes, ok := node["cte_map"].(map[string]any); ok {
		entries, _ := ctes["map"].([]any)
		for _, e := range entries {
			entry, _ := e.(map[string]any)
			if name, ok := entry["key"].(string); ok {
				n.Local = append(n.Local, name)
			}
		}
	}
	return nil
}

// literal quotes a string, and identifier a name.
func literal(s string) string    { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
func identifier(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
