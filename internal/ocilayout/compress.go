package ocilayout

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"runtime"
	"sync"

	"github.com/klauspost/compress/flate"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	// blockSize is part of the format: changing it changes the bytes.
	blockSize = 1 << 20
	// level is part of the format too; the fastest one.
	level = flate.BestSpeed
	// maxWorkers bounds memory.
	maxWorkers = 4
)

// gzipWriter writes one gzip member, its blocks compressed in parallel. The
// bytes are the same for any number of processors and any version of Go, since
// each block is compressed by itself and the compressor is a pinned library.
type gzipWriter struct {
	w     io.Writer
	block *block
	crc   uint32
	size  uint32

	order   chan *block // its capacity bounds how many are compressed at a time
	blocks  sync.Pool
	written chan error
}

type block struct {
	in   []byte
	out  bytes.Buffer
	z    *flate.Writer
	err  error
	done chan struct{}
}

// Compress writes a layer to a new file, and fill writes its tar. The same bytes
// give the same blob on any machine.
func Compress(file *os.File, fill func(io.Writer) error) (Layer, error) {
	return compress(file, level, fill)
}

func compress(file *os.File, level int, fill func(io.Writer) error) (Layer, error) {
	compressed, plain := sha256.New(), sha256.New()
	z := newGzipWriter(io.MultiWriter(file, compressed), 0, level)
	err := fill(io.MultiWriter(plain, z))
	if err = errors.Join(err, z.Close()); err != nil {
		return Layer{}, err
	}
	size, err := file.Seek(0, io.SeekCurrent)
	return Layer{
		Descriptor: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: digest.NewDigest(digest.SHA256, compressed), Size: size},
		DiffID:     digest.NewDigest(digest.SHA256, plain),
	}, err
}

// newGzipWriter makes a writer that must be closed: Close reports the errors of w,
// and does not close it.
func newGzipWriter(w io.Writer, workers, level int) *gzipWriter {
	if workers < 1 {
		workers = min(runtime.GOMAXPROCS(0), maxWorkers)
	}
	z := &gzipWriter{w: w, order: make(chan *block, workers), written: make(chan error, 1)}
	z.blocks.New = func() any {
		f, err := flate.NewWriter(nil, level)
		return &block{in: make([]byte, 0, blockSize), z: f, err: err}
	}
	go func() { z.written <- z.write() }()
	return z
}

// Write never fails: Close reports the errors of the underlying writer.
func (z *gzipWriter) Write(p []byte) (int, error) {
	n := len(p)
	z.crc = crc32.Update(z.crc, crc32.IEEETable, p)
	z.size += uint32(n)
	for len(p) > 0 {
		if z.block == nil {
			z.block = z.blocks.Get().(*block)
		}
		part := min(len(p), blockSize-len(z.block.in))
		z.block.in = append(z.block.in, p[:part]...)
		p = p[part:]
		if len(z.block.in) == blockSize {
			z.send()
		}
	}
	return n, nil
}

func (z *gzipWriter) send() {
	b := z.block
	if b == nil {
		return
	}
	z.block, b.done = nil, make(chan struct{})
	z.order <- b
	go b.compress()
}

// Close writes what is left and the end of the member, and waits for it.
func (z *gzipWriter) Close() error {
	z.send()
	close(z.order)
	return <-z.written
}

func (b *block) compress() {
	defer close(b.done)
	if b.err != nil {
		return
	}
	b.out.Reset()
	b.z.Reset(&b.out)
	if _, b.err = b.z.Write(b.in); b.err == nil {
		b.err = b.z.Flush() // ends at a byte boundary without ending the stream
	}
	b.in = b.in[:0]
}

// write writes header, blocks in order and trailer. After an error it keeps
// draining blocks, so that Write never blocks.
func (z *gzipWriter) write() error {
	// No name, no time, and "unknown" as the operating system.
	_, err := z.w.Write([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff})
	for b := range z.order {
		<-b.done
		if err == nil {
			err = b.err
		}
		if err == nil {
			_, err = z.w.Write(b.out.Bytes())
		}
		z.blocks.Put(b)
	}
	if err != nil {
		return err
	}
	// An empty last block with fixed codes, then checksum and size.
	end := []byte{0x03, 0x00}
	end = binary.LittleEndian.AppendUint32(end, z.crc)
	end = binary.LittleEndian.AppendUint32(end, z.size)
	_, err = z.w.Write(end)
	return err
}
