package contacts

import (
	"fmt"
	"io"
	"log/slog"
)

// What carries a secret prints whom it is for or from, and nothing else.

// Format prints whom the draft is for.
func (d Draft) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[draft to "+d.To+"]") }

// LogValue is what structured logs show of the draft.
func (d Draft) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(d)) }

// Format prints whom the message is for.
func (m Outgoing) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "[message of the kind "+m.Kind+" to "+m.To+"]")
}

// LogValue is what structured logs show of the message.
func (m Outgoing) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(m)) }

// Format prints whom the message is from.
func (in Incoming) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "[message from "+in.From+"]")
}

// LogValue is what structured logs show of the message.
func (in Incoming) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(in)) }
