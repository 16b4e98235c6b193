package ocilayout

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"runtime"
	"sync"

	"github.com/klauspost/compress/flate"
)

const (
	// blockSize is a part of the format: another one gives other bytes.
	blockSize = 1 << 20
	// level is a part of the format as well; the fastest one.
	level = flate.BestSpeed
	// maxWorkers bounds memory: each has a few blocks in hand.
	maxWorkers = 4
)

// gzipWriter writes one gzip member, its blocks compressed in parallel. The
// bytes are the same for any number of processors and any version of Go, since
// each block is compressed by itself and the compressor is a pinned library.
type gzipWriter struct {
	w     io.Writer
	level int
	block *block
	crc   uint32
	size  uint32

	jobs, order chan *block
	free        chan *block // to be used again
	workers     sync.WaitGroup
	written     chan error
}

type block struct {
	in   []byte
	out  bytes.Buffer
	err  error
	done chan struct{}
}

// newGzipWriter starts the goroutines that Close ends.
func newGzipWriter(w io.Writer, workers, level int) *gzipWriter {
	if workers < 1 {
		workers = min(runtime.GOMAXPROCS(0), maxWorkers)
	}
	z := &gzipWriter{
		w: w, level: level, jobs: make(chan *block, workers), order: make(chan *block, 2*workers), free: make(chan *block, 2*workers), written: make(chan error, 1),
	}
	for range workers {
		z.workers.Go(z.compress)
	}
	go func() { z.written <- z.write() }()
	return z
}

// Write never fails: an error of the underlying writer is told by Close.
func (z *gzipWriter) Write(p []byte) (int, error) {
	n := len(p)
	z.crc = crc32.Update(z.crc, crc32.IEEETable, p)
	z.size += uint32(n)
	for len(p) > 0 {
		if z.block == nil {
			z.block = z.empty()
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

func (z *gzipWriter) empty() *block {
	select {
	case b := <-z.free:
		b.in, b.done = b.in[:0], make(chan struct{})
		b.out.Reset()
		return b
	default:
		return &block{in: make([]byte, 0, blockSize), done: make(chan struct{})}
	}
}

func (z *gzipWriter) send() {
	if z.block == nil {
		return
	}
	z.order <- z.block
	z.jobs <- z.block
	z.block = nil
}

// Close writes what is left and the end of the member, and waits for it.
func (z *gzipWriter) Close() error {
	z.send()
	close(z.jobs)
	close(z.order)
	z.workers.Wait()
	return <-z.written
}

func (z *gzipWriter) compress() {
	var f *flate.Writer
	for b := range z.jobs {
		if f == nil {
			f, b.err = flate.NewWriter(&b.out, z.level)
		} else {
			f.Reset(&b.out)
		}
		if b.err == nil {
			_, b.err = f.Write(b.in)
		}
		if b.err == nil {
			// Flush ends at a byte's end without ending the stream.
			b.err = f.Flush()
		}
		close(b.done)
	}
}

// write writes header, blocks in order and trailer. After an error it goes on
// taking blocks, so that nobody waits for it.
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
		select {
		case z.free <- b:
		default:
		}
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
