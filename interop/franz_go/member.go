package main

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// member is one member of a group, what it was given, and how its partitions changed.
type member struct {
	network
	client *kgo.Client
	ended  chan struct{}

	guard      sync.Mutex
	partitions map[int32]bool
	revoked    []int32
	lost       int
	rebalances int
	received   []string
}

func join(w *world, group, topic string, options ...kgo.Opt) *member {
	m := &member{ended: make(chan struct{}), partitions: map[int32]bool{}}
	own := []kgo.Opt{
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(), kgo.Dialer(m.dial),
		kgo.Balancers(kgo.RangeBalancer()),
		kgo.SessionTimeout(6 * time.Second), kgo.HeartbeatInterval(500 * time.Millisecond),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, changed map[string][]int32) {
			m.guard.Lock()
			defer m.guard.Unlock()
			m.rebalances++
			for _, each := range changed[topic] {
				m.partitions[each] = true
			}
		}),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, changed map[string][]int32) {
			m.guard.Lock()
			defer m.guard.Unlock()
			for _, each := range changed[topic] {
				delete(m.partitions, each)
				m.revoked = append(m.revoked, each)
			}
		}),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, changed map[string][]int32) {
			m.guard.Lock()
			defer m.guard.Unlock()
			m.lost++
			for _, each := range changed[topic] {
				delete(m.partitions, each)
			}
		}),
	}
	m.client = w.connect(append(own, options...)...)
	go m.work()
	return m
}

func (m *member) work() {
	defer close(m.ended)
	for {
		fetches := m.client.PollFetches(context.Background())
		if fetches.IsClientClosed() {
			return
		}
		m.guard.Lock()
		for _, each := range fetches.Records() {
			m.received = append(m.received, string(each.Value))
		}
		m.guard.Unlock()
	}
}

func (m *member) assigned() map[int32]bool {
	m.guard.Lock()
	defer m.guard.Unlock()
	copied := map[int32]bool{}
	for each := range m.partitions {
		copied[each] = true
	}
	return copied
}

func (m *member) values() []string {
	m.guard.Lock()
	defer m.guard.Unlock()
	return append([]string(nil), m.received...)
}

func (m *member) has(count int) func() (bool, error) {
	return func() (bool, error) { return len(m.assigned()) == count, nil }
}

// leave closes the client, which tells the group unless the member is a static one.
func (m *member) leave() {
	m.client.Close()
	<-m.ended
}

// vanish lets nothing that the client does arrive any more.
func (m *member) vanish() {
	m.cut()
	go m.client.Close()
}
