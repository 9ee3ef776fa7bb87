package newcomer

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"stagecoach/lab"
)

// The domain, and the address of the server that it is set up on.
const domain, address = "newcomer.example", "76.8.60.93"

var server = netip.MustParseAddr(address)

// A scene is the Internet of the lab in this process, and a server in a network namespace with
// nothing on it but the program.
type scene struct {
	*lab.Lab
	t      *testing.T
	folder string
	roots  *x509.CertPool // of certificates that this world trusts
	clock  *clock
	daemon *exec.Cmd

	registered said // at the registrar and the hoster
}

func newScene(t *testing.T) *scene {
	t.Helper()
	w := &scene{t: t, folder: t.TempDir()}
	w.must("go", "build", "-o", w.path("stagecoach"), "stagecoach/cmd/stagecoach")
	for line := range strings.Lines(wires) {
		w.must("sh", "-c", line)
	}
	var err error
	if w.Lab, err = lab.Start(t.Context(), lab.Config{Block: netip.MustParsePrefix("93.184.216.0/24"), Beyond: netip.PrefixFrom(server, 32), SMTPPort: 25, DNSPort: 53}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Lab.Close() })
	w.BigMail.AddUser("ann.archer")
	w.Lookout.AddUser("bob")
	w.Correspondent.AddUser("carol")
	acme, err := w.StartACME()
	if err != nil {
		t.Fatal(err)
	}
	w.write("acme.url", acme.Directory)
	w.write("acme.pem", string(w.CA.PEM()))
	w.write("roots.pem", string(w.CA.PEM())+string(acme.Root))
	w.roots = x509.NewCertPool()
	w.roots.AppendCertsFromPEM(acme.Root)
	w.clock = startClock(t, w.Roots()[0])
	return w
}

// wires are the cable between the Internet and the server. Files in /run are this scene's alone.
const wires = `mount -t tmpfs none /run && mkdir -p /run/netns
ip link set lo up
ip netns add server
ip link add inet type veth peer name eth0 netns server
ip addr add 45.33.32.1 peer 76.8.60.93 dev inet
ip link set inet up
ip route add local 93.184.216.0/24 dev lo
ip -n server link set lo up
ip -n server addr add 76.8.60.93 peer 45.33.32.1 dev eth0
ip -n server link set eth0 up
ip -n server route add default via 45.33.32.1
`

func (w *scene) path(name string) string { return filepath.Join(w.folder, name) }

func (w *scene) write(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(w.path(name), []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

// must runs a program out here.
func (w *scene) must(name string, args ...string) string {
	w.t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		w.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// onServer makes a command that runs on the server, in its folder.
func (w *scene) onServer(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", "server", name}, args...)...)
	cmd.Dir = w.folder
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// stagecoach runs a command of ours on the server, which must succeed.
func (w *scene) stagecoach(ctx context.Context, args ...string) string {
	w.t.Helper()
	var out, trouble bytes.Buffer
	cmd := w.onServer(ctx, w.path("stagecoach"), args...)
	cmd.Stdout, cmd.Stderr = &out, &trouble
	if err := cmd.Run(); err != nil {
		w.t.Fatalf("stagecoach %s: %v\n%s%s", strings.Join(args, " "), err, out.String(), trouble.String())
	}
	return out.String()
}

// serve starts the service. Its log is shown when the test fails.
func (w *scene) serve() {
	w.t.Helper()
	log, err := os.Create(w.path("serve.log"))
	if err != nil {
		w.t.Fatal(err)
	}
	defer log.Close()
	w.daemon = w.onServer(context.Background(), w.path("stagecoach"), "serve", "--config", "stagecoach.toml")
	w.daemon.Stdout, w.daemon.Stderr = log, log
	if err := w.daemon.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		w.daemon.Process.Signal(syscall.SIGTERM) //nolint:errcheck // Wait says more
		if err := w.daemon.Wait(); err != nil {
			w.t.Errorf("serve: %v", err)
		}
		if text, err := os.ReadFile(w.path("serve.log")); w.t.Failed() && err == nil {
			lines := strings.Split(string(text), "\n")
			w.t.Logf("the log of the service:\n%s", strings.Join(lines[max(0, len(lines)-60):], "\n"))
		}
	})
}

// configure writes what a world has that is not the real one into the configuration of "init": its root
// servers and its authority of certificates. ds is what the registrar was told; the lab's root
// is not signed, so that is where trust begins.
func (w *scene) configure(ds string) {
	w.t.Helper()
	text, err := os.ReadFile(w.path("stagecoach.toml"))
	if err != nil {
		w.t.Fatal(err)
	}
	url, err := os.ReadFile(w.path("acme.url"))
	if err != nil {
		w.t.Fatal(err)
	}
	authority := fmt.Sprintf("directory = %q\nca_file = %q", url, w.path("acme.pem"))
	config := strings.Replace(string(text), "production = true", authority, 1)
	if config == string(text) {
		w.t.Fatalf("no authority to replace in\n%s", text)
	}
	w.write("trust", ds+"\n")
	w.write("stagecoach.toml", config+fmt.Sprintf("\n[resolver]\nhints = [%q]\ntrust = %q\n", w.Roots()[0], w.path("trust")))
}
