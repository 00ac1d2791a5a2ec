package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"time"
)

// patience is how long anything may take before it counts as failed.
const patience = 25 * time.Second

// target is what the command line says: the cluster, and how names begin.
type target struct {
	bootstrap   []string
	prefix      string
	replication int
	topics      int
}

func commandLine() *target {
	bootstrap := flag.String("bootstrap", "", "HOST:PORT,… of the cluster")
	prefix := flag.String("prefix", "go", "what the names of topics, groups and transactional ids begin with")
	replication := flag.Int("replication-factor", 1, "of every topic")
	flag.Parse()
	return &target{bootstrap: strings.Split(*bootstrap, ","), prefix: *prefix, replication: *replication}
}

func (t *target) name(what string) string { return t.prefix + "-" + what }

// unused is the name of a topic that no other step has.
func (t *target) unused(what string) string {
	t.topics++
	return fmt.Sprintf("%s-%s-%d", t.prefix, what, t.topics)
}

// failure is what is not as it should be, without an error of the broker's that says so.
type failure string

func (f failure) Error() string { return string(f) }

// unsupported is what the library can not do.
type unsupported string

func (u unsupported) Error() string { return string(u) }

func failed(format string, arguments ...any) error { return failure(fmt.Sprintf(format, arguments...)) }

func equal[T comparable](found, wanted T, what string) error {
	if found != wanted {
		return failed("%s is %v instead of %v", what, found, wanted)
	}
	return nil
}

// reporter prints what each step came to. errorName gives Kafka's name of an error, "" if it has none.
type reporter struct {
	errorName func(error) string
}

func (r reporter) library(path string) {
	version := "unknown"
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, each := range build.Deps {
			if each.Path == path {
				version = strings.TrimPrefix(each.Version, "v")
			}
		}
	}
	say(map[string]string{"library": path, "version": version})
}

func (r reporter) step(name string, run func(context.Context) (string, error)) {
	begun := time.Now()
	bounded, cancel := context.WithTimeout(context.Background(), 2*patience)
	detail, err := run(bounded)
	cancel()
	outcome := "ok"
	if err != nil {
		outcome, detail = r.outcome(err), err.Error()
	}
	if os.Getenv("INTEROP_TIMES") != "" {
		fmt.Fprintf(os.Stderr, "%s took %v\n", name, time.Since(begun).Round(time.Millisecond))
	}
	say(map[string]string{"step": name, "outcome": outcome, "detail": detail})
}

func (r reporter) outcome(err error) string {
	var lacks unsupported
	if errors.As(err, &lacks) {
		return "unsupported"
	}
	if name := r.errorName(err); name != "" {
		return name
	}
	return "failed"
}

func say(what map[string]string) {
	line, err := json.Marshal(what)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
}

// until asks again until the answer is true.
func until(ctx context.Context, what string, condition func() (bool, error)) error {
	end := time.Now().Add(patience)
	for {
		done, err := condition()
		if done || err != nil {
			return err
		}
		if time.Now().After(end) || ctx.Err() != nil {
			return failed("%s: not within %v", what, patience)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// network dials for one client until it is cut: from then on nothing that the client says arrives.
type network struct {
	mutex       sync.Mutex
	connections []net.Conn
	isCut       bool
}

func (n *network) dial(ctx context.Context, kind, address string) (net.Conn, error) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if n.isCut {
		return nil, errors.New("the network is cut")
	}
	connection, err := (&net.Dialer{}).DialContext(ctx, kind, address)
	if err == nil {
		n.connections = append(n.connections, connection)
	}
	return connection, err
}

func (n *network) cut() {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	n.isCut = true
	for _, each := range n.connections {
		_ = each.Close()
	}
}
