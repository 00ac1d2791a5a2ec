package main

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/segmentio/kafka-go"
)

const (
	groupPartitions = 4
	groupCount      = 40
)

// scene is a topic with records and two members of a group.
type scene struct {
	*world
	topicName, group string
	first, second    *member
}

func walkGroups(w *world, report reporter) {
	lacks := func(why string) func(context.Context) (string, error) {
		return func(context.Context) (string, error) { return "", unsupported(why) }
	}
	report.step("group_two_members", func(ctx context.Context) (string, error) { return "", twoMembers(ctx, w) })
	report.step("rebalance_on_leave", func(ctx context.Context) (string, error) {
		return goes(ctx, w, "leave", (*member).leave, 0, 5*time.Second)
	})
	report.step("rebalance_on_close_without_leave", func(ctx context.Context) (string, error) {
		return goes(ctx, w, "vanish", (*member).vanish, 3*time.Second, 10*time.Second)
	})
	report.step("static_membership", lacks("it has no group.instance.id"))
	report.step("cooperative_rebalance", lacks("it has no cooperative assignor"))
	report.step("next_gen_group", lacks("it has not KIP-848"))
	report.step("commit_and_resume", func(ctx context.Context) (string, error) { return "", commitAndResume(ctx, w) })
}

func newScene(ctx context.Context, w *world, what string, members int) (*scene, error) {
	topic, err := w.topic(ctx, what, groupPartitions)
	if err != nil {
		return nil, err
	}
	s := &scene{world: w, topicName: topic, group: w.name(what)}
	if err = w.fill(ctx, topic, 0, groupCount); err != nil {
		return nil, err
	}
	if s.first, err = join(w, s.group, topic); err != nil || members == 1 {
		return s, err
	}
	if s.second, err = join(w, s.group, topic); err != nil {
		return nil, err
	}
	return s, until(ctx, "two partitions each", func() (bool, error) {
		one, other := s.first.assigned(), s.second.assigned()
		even := len(one) == groupPartitions/2 && len(other) == groupPartitions/2
		maps.Copy(one, other)
		return even && len(one) == groupPartitions, nil
	})
}

// arrive checks that records which are written now come once, to whoever is there.
func (s *scene) arrive(ctx context.Context, members ...*member) error {
	const first = 1000
	if err := s.fill(ctx, s.topicName, first, groupCount); err != nil {
		return err
	}
	wanted := map[string]bool{}
	for number := first; number < first+groupCount; number++ {
		wanted[value(number)] = true
	}
	var found []string
	err := until(ctx, "all records", func() (bool, error) {
		found = nil
		for _, each := range members {
			for _, got := range each.values() {
				if wanted[got] {
					found = append(found, got)
				}
			}
		}
		return len(found) >= groupCount, nil
	})
	if err != nil {
		return err
	}
	for _, each := range found {
		delete(wanted, each)
	}
	return firstOf(
		equal(len(found), groupCount, "the number of records"),
		equal(len(wanted), 0, "the number of records that did not come"),
	)
}

func twoMembers(ctx context.Context, w *world) error {
	s, err := newScene(ctx, w, "two", 2)
	if err != nil {
		return err
	}
	defer s.first.leave()
	defer s.second.leave()
	return s.arrive(ctx, s.first, s.second)
}

// goes lets one of two members end, and checks when the other has all partitions.
func goes(ctx context.Context, w *world, what string, end func(*member), least, most time.Duration) (string, error) {
	s, err := newScene(ctx, w, what, 2)
	if err != nil {
		return "", err
	}
	defer s.first.leave()
	begun := time.Now()
	end(s.second)
	if err := until(ctx, "all partitions", s.first.has(groupPartitions)); err != nil {
		return "", err
	}
	took := time.Since(begun).Round(time.Millisecond)
	if took < least || took > most {
		return "", failed("it took %v", took)
	}
	return fmt.Sprintf("after %v", took), s.arrive(ctx, s.first)
}

func commitAndResume(ctx context.Context, w *world) error {
	s, err := newScene(ctx, w, "resume", 1)
	if err != nil {
		return err
	}
	err = until(ctx, "all records", func() (bool, error) { return len(s.first.values()) == groupCount, nil })
	if err != nil {
		return err
	}
	offsets, rest := map[int]int64{}, groupCount
	for index := range groupPartitions {
		offsets[index] = int64(index + 3)
		rest -= index + 3
	}
	if err := s.first.commit(offsets); err != nil {
		return err
	}
	s.first.leave()
	second, err := join(w, s.group, s.topicName)
	if err != nil {
		return err
	}
	defer second.leave()
	err = until(ctx, "the other records", func() (bool, error) { return len(second.values()) >= rest, nil })
	if err != nil {
		return err
	}
	if err := equal(len(second.values()), rest, "the number of records"); err != nil {
		return err
	}
	committed, err := w.client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{
		GroupID: s.group, Topics: map[string][]int{s.topicName: {1}},
	})
	if err != nil {
		return err
	}
	one := committed.Topics[s.topicName][0]
	return firstOf(committed.Error, one.Error, equal(one.CommittedOffset, 4, "the committed offset"))
}
