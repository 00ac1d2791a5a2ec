package main

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
)

// member is one member of a group: it reads what each generation gives it.
type member struct {
	network
	world *world
	topic string
	group *kafka.ConsumerGroup
	stop  context.CancelFunc
	ended chan struct{}

	guard      sync.Mutex
	generation *kafka.Generation
	partitions map[int]bool
	received   []string
}

func join(w *world, group, topic string) (*member, error) {
	m := &member{world: w, topic: topic, ended: make(chan struct{}), partitions: map[int]bool{}}
	joined, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: group, Brokers: w.bootstrap, Topics: []string{topic},
		Dialer:            &kafka.Dialer{DialFunc: m.dial, ClientID: "someone", Timeout: 10 * time.Second},
		GroupBalancers:    []kafka.GroupBalancer{kafka.RangeGroupBalancer{}},
		HeartbeatInterval: 500 * time.Millisecond, SessionTimeout: 6 * time.Second,
		RebalanceTimeout: 10 * time.Second, JoinGroupBackoff: 200 * time.Millisecond, StartOffset: kafka.FirstOffset,
	})
	if err != nil {
		return nil, err
	}
	m.group = joined
	ctx, stop := context.WithCancel(context.Background())
	m.stop = stop
	go m.work(ctx)
	return m, nil
}

func (m *member) work(ctx context.Context) {
	defer close(m.ended)
	for {
		generation, err := m.group.Next(ctx)
		if ctx.Err() != nil || err == kafka.ErrGroupClosed {
			return
		}
		if err != nil {
			continue
		}
		m.guard.Lock()
		m.generation, m.partitions = generation, map[int]bool{}
		for _, each := range generation.Assignments[m.topic] {
			m.partitions[each.ID] = true
		}
		m.guard.Unlock()
		for _, each := range generation.Assignments[m.topic] {
			generation.Start(func(ctx context.Context) { m.read(ctx, each) })
		}
	}
}

func (m *member) read(ctx context.Context, from kafka.PartitionAssignment) {
	reader := m.world.reader(m.topic, from.ID)
	defer reader.Close()
	if err := reader.SetOffset(from.Offset); err != nil {
		return
	}
	for {
		message, err := reader.ReadMessage(ctx)
		if err != nil {
			return
		}
		m.guard.Lock()
		m.received = append(m.received, string(message.Value))
		m.guard.Unlock()
	}
}

func (m *member) assigned() map[int]bool {
	m.guard.Lock()
	defer m.guard.Unlock()
	return maps.Clone(m.partitions)
}

func (m *member) values() []string {
	m.guard.Lock()
	defer m.guard.Unlock()
	return append([]string(nil), m.received...)
}

func (m *member) has(count int) func() (bool, error) {
	return func() (bool, error) { return len(m.assigned()) == count, nil }
}

func (m *member) commit(offsets map[int]int64) error {
	m.guard.Lock()
	generation := m.generation
	m.guard.Unlock()
	return generation.CommitOffsets(map[string]map[int]int64{m.topic: offsets})
}

// leave closes the member, which tells the group.
func (m *member) leave() {
	_ = m.group.Close()
	m.stop()
	<-m.ended
}

// vanish lets nothing that the member does arrive any more.
func (m *member) vanish() {
	m.cut()
	m.stop()
	go m.group.Close()
}
