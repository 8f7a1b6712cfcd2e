package main

// #include "confine.h"
import "C"

// confined is what the constructor reached before Go began.
type confined struct {
	Privileges bool `json:"privileges"`
	Files      bool `json:"files"`
	Syscalls   bool `json:"syscalls"`
	Namespaces bool `json:"namespaces"`
}

func confinement() confined {
	bits := C.coldframe_confined
	return confined{
		Privileges: bits&C.CONFINED_PRIVILEGES != 0, Files: bits&C.CONFINED_FILES != 0,
		Syscalls: bits&C.CONFINED_SYSCALLS != 0, Namespaces: bits&C.CONFINED_NAMESPACES != 0,
	}
}
