package ratchet

import (
	"bytes"
	"reflect"
	"slices"
	"unsafe"
)

// Passed returns how many seeds, and post-quantum keys, are passed over for a message that no session opens.
func (s *Session) Passed(m Message) (seeds, keys uint32) {
	inner := innerOf(m)
	current, archived := newEffort(), newEffort()
	_, err := s.in.search(&inner, &current, &archived, func(Change) error { panic("a forged message is read") })
	if err == nil {
		panic("no error")
	}
	full := newEffort()
	return 2*full.seeds - current.seeds - archived.seeds, 2*full.keys - current.keys - archived.keys
}

// Secret is where a private key lies in memory.
type Secret struct {
	Name string
	at   []byte
}

// Left reports whether anything is there.
func (s Secret) Left() bool { return len(bytes.Trim(s.at, "\x00")) > 0 }

// secretNames are the fields, here and in package spqr, that hold private keys.
var secretNames = []string{"root", "private", "key", "seed", "next", "nextRoot", "mac", "m"}

// Secrets finds the private keys that the session holds.
func (s *Session) Secrets() []Secret {
	list := []Secret{}
	for i := range len(s.in.archived) + 1 {
		if c := s.in.candidate(i); c != nil {
			list = secrets(list, "", reflect.ValueOf(c))
		}
	}
	return append(list, Secret{"scratch", s.Scratch()})
}

// Secrets finds the private keys that are held, those behind the ends of slices too.
func (p *PreKeys) Secrets() []Secret {
	p.mu.Lock()
	defer p.mu.Unlock()
	return secrets(nil, "", reflect.ValueOf(p.set.Load()))
}

// secrets walks over everything that v leads to.
func secrets(list []Secret, name string, v reflect.Value) []Secret {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() && v.Elem().Type().PkgPath() != "coldframe/ratchet/internal/erasure" { // public streams
			list = secrets(list, name, v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			list = secrets(list, v.Type().Field(i).Name, v.Field(i))
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() != reflect.Uint8 {
			for i := range v.Cap() {
				list = secrets(list, name, v.Slice(0, v.Cap()).Index(i))
			}
		}
	case reflect.Array:
		if v.Type().Elem().Kind() != reflect.Uint8 {
			for i := range v.Len() {
				list = secrets(list, name, v.Index(i))
			}
		} else if slices.Contains(secretNames, name) {
			list = append(list, Secret{name, unsafe.Slice((*byte)(v.Addr().UnsafePointer()), v.Len())})
		}
	}
	return list
}
