package query

import (
	"io"
	"os"

	"golang.org/x/sys/unix"

	"coldframe/columnar"
	"coldframe/internal/fault"
)

// memFiles are the files of one table, in memory that has no name.
type memFiles struct {
	image *columnar.Image
	files []*os.File
}

// newMemFiles makes a file for each part, of its whole length but without chunks. None can grow or shrink from then on.
func newMemFiles(image *columnar.Image) (*memFiles, error) {
	m := &memFiles{image: image}
	for i := range image.Parts() {
		fd, err := unix.MemfdCreate("", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
		if err != nil {
			m.close()
			return nil, fault.Wrap(fault.Unavailable, err, "no memory file can be made")
		}
		f := os.NewFile(uintptr(fd), "part")
		m.files = append(m.files, f)
		if err := f.Truncate(image.Size(i)); err != nil {
			m.close()
			return nil, err
		}
		if err := seal(f, unix.F_SEAL_GROW|unix.F_SEAL_SHRINK); err != nil {
			m.close()
			return nil, err
		}
	}
	if err := image.Footers(m.at); err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

func (m *memFiles) at(part int) io.WriterAt { return m.files[part] }

// finish lets nobody write to the files any more, the engine included.
func (m *memFiles) finish() error {
	for _, f := range m.files {
		if err := seal(f, unix.F_SEAL_WRITE|unix.F_SEAL_SEAL); err != nil {
			return err
		}
	}
	return nil
}

func seal(f *os.File, seals int) error {
	_, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals)
	return err
}

// close gives up the agent's hold on the files: their memory goes with the engine.
func (m *memFiles) close() {
	for _, f := range m.files {
		f.Close() //nolint:errcheck // memory
	}
	m.files = nil
	m.image.Close()
}
