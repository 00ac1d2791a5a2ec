package main

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	groupPartitions = 4
	groupCount      = 40
)

// scene is a topic with records and a group's name.
type scene struct {
	*world
	topicName, group string
}

func walkGroups(w *world, report reporter) {
	report.step("group_two_members", func(ctx context.Context) (string, error) {
		return "", twoMembers(ctx, w, "two", (*scene).isClassic, kgo.Balancers(kgo.RangeBalancer()))
	})
	report.step("rebalance_on_leave", func(ctx context.Context) (string, error) {
		return goes(ctx, w, "leave", (*member).leave, 0, 5*time.Second)
	})
	report.step("rebalance_on_close_without_leave", func(ctx context.Context) (string, error) {
		return goes(ctx, w, "vanish", (*member).vanish, 3*time.Second, 10*time.Second)
	})
	report.step("static_membership", func(ctx context.Context) (string, error) { return "", staticMembership(ctx, w) })
	report.step("cooperative_rebalance", func(ctx context.Context) (string, error) { return "", cooperative(ctx, w) })
	report.step("next_gen_group", func(ctx context.Context) (string, error) {
		return "", twoMembers(ctx, w, "next", (*scene).isNextGeneration, kgo.ServerSideBalancer())
	})
	report.step("commit_and_resume", func(ctx context.Context) (string, error) { return "", commitAndResume(ctx, w) })
}

func newScene(ctx context.Context, w *world, what string) (*scene, error) {
	topic, err := w.topic(ctx, what, groupPartitions)
	if err != nil {
		return nil, err
	}
	return &scene{w, topic, w.name(what)}, w.fill(ctx, topic, groupPartitions, 0, groupCount)
}

func (s *scene) member(options ...kgo.Opt) *member {
	return join(s.world, s.group, s.topicName, options...)
}

func share(ctx context.Context, first, second *member) error {
	return until(ctx, "two partitions each", func() (bool, error) {
		one, other := first.assigned(), second.assigned()
		even := len(one) == groupPartitions/2 && len(other) == groupPartitions/2
		maps.Copy(one, other)
		return even && len(one) == groupPartitions, nil
	})
}

// arrive checks that records which are written now come once, to whoever is there.
func (s *scene) arrive(ctx context.Context, members ...*member) error {
	const first = 1000
	if err := s.fill(ctx, s.topicName, groupPartitions, first, groupCount); err != nil {
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
	if err := equal(len(found), groupCount, "the number of records"); err != nil {
		return err
	}
	return equal(len(wanted), 0, "the number of records that did not come")
}

func (s *scene) isClassic(ctx context.Context) error {
	all, err := s.admin.DescribeGroups(ctx, s.group)
	if err != nil {
		return err
	}
	return firstOf(all[s.group].Err, equal(all[s.group].Protocol, "range", "the protocol"))
}

// isNextGeneration is asked because the client falls back to the classic protocol without a word.
func (s *scene) isNextGeneration(ctx context.Context) error {
	all, err := s.admin.DescribeConsumerGroups(ctx, s.group)
	if err != nil {
		return err
	}
	found := all[s.group]
	return firstOf(found.Err, equal(found.State, "Stable", "the state"), equal(len(found.Members), 2, "the number of members"))
}

func twoMembers(ctx context.Context, w *world, what string, check func(*scene, context.Context) error, options ...kgo.Opt) error {
	s, err := newScene(ctx, w, what)
	if err != nil {
		return err
	}
	first, second := s.member(options...), s.member(options...)
	defer first.leave()
	defer second.leave()
	if err := share(ctx, first, second); err != nil {
		return err
	}
	if err := s.arrive(ctx, first, second); err != nil {
		return err
	}
	return check(s, ctx)
}

// goes lets one of two members end, and checks when the other has all partitions.
func goes(ctx context.Context, w *world, what string, end func(*member), least, most time.Duration) (string, error) {
	s, err := newScene(ctx, w, what)
	if err != nil {
		return "", err
	}
	first, second := s.member(), s.member()
	defer first.leave()
	if err := share(ctx, first, second); err != nil {
		return "", err
	}
	begun := time.Now()
	end(second)
	if err := until(ctx, "all partitions", first.has(groupPartitions)); err != nil {
		return "", err
	}
	took := time.Since(begun).Round(time.Millisecond)
	if took < least || took > most {
		return "", failed("it took %v", took)
	}
	return fmt.Sprintf("after %v", took), s.arrive(ctx, first)
}

func staticMembership(ctx context.Context, w *world) error {
	s, err := newScene(ctx, w, "static")
	if err != nil {
		return err
	}
	first := s.member(kgo.InstanceID("first"), kgo.SessionTimeout(20*time.Second))
	defer first.leave()
	second := s.member(kgo.InstanceID("second"), kgo.SessionTimeout(20*time.Second))
	if err := share(ctx, first, second); err != nil {
		return err
	}
	before, rebalances := second.assigned(), first.rebalances
	second.leave()
	again := s.member(kgo.InstanceID("second"), kgo.SessionTimeout(20*time.Second))
	defer again.leave()
	if err := until(ctx, "its partitions", again.has(groupPartitions/2)); err != nil {
		return err
	}
	if !maps.Equal(again.assigned(), before) {
		return failed("the one that came back has %v instead of %v", again.assigned(), before)
	}
	if err := s.arrive(ctx, first, again); err != nil {
		return err
	}
	return equal(first.rebalances, rebalances, "the other's number of rebalances")
}

func cooperative(ctx context.Context, w *world) error {
	s, err := newScene(ctx, w, "cooperative")
	if err != nil {
		return err
	}
	first := s.member(kgo.Balancers(kgo.CooperativeStickyBalancer()))
	defer first.leave()
	if err := until(ctx, "all partitions", first.has(groupPartitions)); err != nil {
		return err
	}
	second := s.member(kgo.Balancers(kgo.CooperativeStickyBalancer()))
	defer second.leave()
	if err := share(ctx, first, second); err != nil {
		return err
	}
	if err := equal(len(first.revoked), groupPartitions/2, "the number of partitions taken from the first"); err != nil {
		return err
	}
	if err := equal(first.lost, 0, "the number of losses"); err != nil {
		return err
	}
	return s.arrive(ctx, first, second)
}

func commitAndResume(ctx context.Context, w *world) error {
	s, err := newScene(ctx, w, "resume")
	if err != nil {
		return err
	}
	first := s.member()
	err = until(ctx, "all records", func() (bool, error) { return len(first.values()) == groupCount, nil })
	if err != nil {
		return err
	}
	offsets := map[string]map[int32]kgo.EpochOffset{s.topicName: {}}
	rest := groupCount
	for index := range groupPartitions {
		offsets[s.topicName][int32(index)] = kgo.EpochOffset{Epoch: -1, Offset: int64(index + 3)}
		rest -= index + 3
	}
	first.client.CommitOffsetsSync(ctx, offsets, nil)
	first.leave()
	second := s.member()
	defer second.leave()
	err = until(ctx, "the other records", func() (bool, error) { return len(second.values()) >= rest, nil })
	if err != nil {
		return err
	}
	if err := equal(len(second.values()), rest, "the number of records"); err != nil {
		return err
	}
	committed, err := w.admin.FetchOffsets(ctx, s.group)
	if err != nil {
		return err
	}
	one, _ := committed.Lookup(s.topicName, 1)
	return equal(one.At, 4, "the committed offset")
}
