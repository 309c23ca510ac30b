// A kubelet without a container runtime: it serves what the API server asks a kubelet for logs, exec, attach and
// port-forward, by the kubelet's own library, and its containers are local processes. A container has a folder of its own,
// where its commands run, and a main process, which starts when somebody first looks at it, on a terminal if he has one.
//
// usage: kubelet PORT CERTIFICATE KEY FOLDER MAIN [ARGUMENT...]
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/creack/pty"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"
)

const (
	idleTimeout     = 4 * time.Hour
	creationTimeout = 30 * time.Second
)

func main() {
	log.SetFlags(0)
	if len(os.Args) < 6 {
		log.Fatal("kubelet: see main.go")
	}
	kubelet := &kubelet{folder: os.Args[4], main: os.Args[5:], containers: map[string]*container{}}
	mux := http.NewServeMux()
	mux.HandleFunc("/exec/{namespace}/{pod}/{container}", kubelet.exec)
	mux.HandleFunc("/attach/{namespace}/{pod}/{container}", kubelet.attach)
	mux.HandleFunc("/portForward/{namespace}/{pod}", kubelet.portForward)
	mux.HandleFunc("/containerLogs/{namespace}/{pod}/{container}", kubelet.logs)
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening on", listener.Addr())
	log.Fatal(http.ServeTLS(listener, mux, os.Args[2], os.Args[3]))
}

type kubelet struct {
	folder     string
	main       []string
	mutex      sync.Mutex
	containers map[string]*container
}

// A container whose main process runs. What that says is kept, and given to all who look.
type container struct {
	stdin io.WriteCloser
	// Of its terminal, if it has one.
	resize func(remotecommand.TerminalSize)

	mutex   sync.Mutex
	said    []byte
	ended   bool
	changed chan struct{}
}

func (k *kubelet) exec(w http.ResponseWriter, r *http.Request) {
	options, err := remotecommand.NewOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	remotecommand.ServeExec(w, r, k, "", "", nameOf(r), r.Form["command"], options, idleTimeout, creationTimeout, remotecommand.SupportedStreamingProtocols)
}

func (k *kubelet) attach(w http.ResponseWriter, r *http.Request) {
	options, err := remotecommand.NewOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	remotecommand.ServeAttach(w, r, k, "", "", nameOf(r), options, idleTimeout, creationTimeout, remotecommand.SupportedStreamingProtocols)
}

func (k *kubelet) portForward(w http.ResponseWriter, r *http.Request) {
	options, err := portforward.NewV4Options(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	portforward.ServePortForward(w, r, k, r.PathValue("pod"), "", options, idleTimeout, creationTimeout, portforward.SupportedProtocols)
}

func (k *kubelet) logs(w http.ResponseWriter, r *http.Request) {
	container, err := k.running(nameOf(r), false)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	w.(http.Flusher).Flush()
	follow := r.FormValue("follow") == "true"
	container.tell(r.Context(), 0, follow, func(piece []byte) error {
		_, err := w.Write(piece)
		w.(http.Flusher).Flush()
		return err
	})
}

// ExecInContainer runs a command in the container's folder. How it ends is how the client's command ends.
func (k *kubelet) ExecInContainer(ctx context.Context, _, _, name string, arguments []string, in io.Reader, out, err io.WriteCloser, tty bool, sizes <-chan remotecommand.TerminalSize, _ time.Duration) error {
	command, fault := k.command(ctx, name, arguments)
	if fault != nil {
		return fault
	}
	if tty {
		terminal, fault := pty.Start(command)
		if fault != nil {
			return fault
		}
		defer terminal.Close()
		go func() {
			for size := range sizes {
				setSize(terminal, size)
			}
		}()
		if in != nil {
			go io.Copy(terminal, in)
		}
		// A terminal whose process has ended is an error to read.
		io.Copy(out, terminal)
		return exitOf(command.Wait())
	}
	if out != nil {
		command.Stdout = out
	}
	if err != nil {
		command.Stderr = err
	}
	if in != nil {
		// Not by the library of Go, which would wait for the client's end before it says how the command ended.
		stdin, fault := command.StdinPipe()
		if fault != nil {
			return fault
		}
		go func() {
			io.Copy(stdin, in)
			stdin.Close()
		}()
	}
	return exitOf(command.Run())
}

// AttachContainer joins the main process, until that ends. The end of input is the end of the main process's.
func (k *kubelet) AttachContainer(ctx context.Context, _, _, name string, in io.Reader, out, _ io.WriteCloser, tty bool, sizes <-chan remotecommand.TerminalSize) error {
	container, err := k.running(name, tty)
	if err != nil {
		return err
	}
	from := container.length()
	if tty {
		go func() {
			for size := range sizes {
				container.resize(size)
			}
		}()
	}
	if in != nil {
		go func() {
			io.Copy(container.stdin, in)
			container.stdin.Close()
		}()
	}
	container.tell(ctx, from, true, func(piece []byte) error {
		_, err := out.Write(piece)
		return err
	})
	return nil
}

// PortForward connects to a port of this machine.
func (k *kubelet) PortForward(_ context.Context, _, _ string, port int32, stream io.ReadWriteCloser) error {
	connection, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	defer connection.Close()
	go func() {
		io.Copy(connection, stream)
		connection.(*net.TCPConn).CloseWrite()
	}()
	_, err = io.Copy(stream, connection)
	return err
}

func (k *kubelet) command(ctx context.Context, name string, arguments []string) (*exec.Cmd, error) {
	folder := filepath.Join(k.folder, name)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	command := exec.CommandContext(ctx, arguments[0], arguments[1:]...)
	command.Dir = folder
	return command, nil
}

// The container, whose main process is started if it does not run.
func (k *kubelet) running(name string, tty bool) (*container, error) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	if container := k.containers[name]; container != nil {
		return container, nil
	}
	command, err := k.command(context.Background(), name, k.main)
	if err != nil {
		return nil, err
	}
	container := &container{changed: make(chan struct{}), resize: func(remotecommand.TerminalSize) {}}
	if tty {
		terminal, err := pty.Start(command)
		if err != nil {
			return nil, err
		}
		container.stdin = terminal
		container.resize = func(size remotecommand.TerminalSize) { setSize(terminal, size) }
		go func() {
			io.Copy(container, terminal)
			command.Wait()
			container.end()
		}()
	} else {
		command.Stdout, command.Stderr = container, container
		if container.stdin, err = command.StdinPipe(); err != nil {
			return nil, err
		}
		if err := command.Start(); err != nil {
			return nil, err
		}
		go func() {
			command.Wait()
			container.end()
		}()
	}
	k.containers[name] = container
	return container, nil
}

// Write keeps what the main process says.
func (c *container) Write(piece []byte) (int, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.said = append(c.said, piece...)
	close(c.changed)
	c.changed = make(chan struct{})
	return len(piece), nil
}

func (c *container) end() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.ended = true
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *container) length() int {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return len(c.said)
}

// Gives what is said from a place on: all that is there, or all until the end of the main process.
func (c *container) tell(ctx context.Context, from int, follow bool, to func([]byte) error) {
	for {
		c.mutex.Lock()
		piece, ended, changed := c.said[from:], c.ended, c.changed
		c.mutex.Unlock()
		if len(piece) > 0 {
			if to(piece) != nil {
				return
			}
			from += len(piece)
			continue
		}
		if ended || !follow {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

func nameOf(r *http.Request) string {
	return filepath.Join(r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("container"))
}

func setSize(terminal *os.File, size remotecommand.TerminalSize) {
	pty.Setsize(terminal, &pty.Winsize{Rows: size.Height, Cols: size.Width})
}

// How a process ended, in the words that the library knows.
func exitOf(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return utilexec.CodeExitError{Err: err, Code: exit.ExitCode()}
	}
	return err
}
