package main

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const describedPartitions = 2

// administration is what kadm does with groups and with the cluster.
type administration struct {
	*world
	topicName, group string
}

func walkAdministration(w *world, report reporter) {
	a := &administration{world: w, group: w.name("described")}
	one, err := a.member(context.Background())
	if err != nil {
		panic(err)
	}
	report.step("list_groups", a.list)
	report.step("describe_group", a.describe)
	report.step("describe_group_unknown", a.describeUnknown)
	report.step("delete_group_nonempty", a.deleteGroup(a.group))
	one.leave()
	report.step("delete_group", a.delete)
	report.step("delete_group_unknown", a.deleteGroup(w.name("unknown")))
	report.step("elect_leaders", a.elect)
	report.step("list_reassignments", a.reassignments)
	report.step("acls", a.acls)
	report.step("quotas", func(ctx context.Context) (string, error) {
		found, err := w.admin.DescribeClientQuotas(ctx, false, nil)
		return fmt.Sprintf("%d quotas", len(found)), err
	})
	report.step("scram", func(ctx context.Context) (string, error) {
		user := w.name("user")
		found, err := w.admin.DescribeUserSCRAMs(ctx, user)
		return "", firstOf(err, found[user].Err)
	})
}

// member joins and stays, by its heartbeats, while the steps look at it.
func (a *administration) member(ctx context.Context) (*member, error) {
	topic, err := a.topic(ctx, "described", describedPartitions)
	if err != nil {
		return nil, err
	}
	a.topicName = topic
	if err := a.fill(ctx, topic, describedPartitions, 0, 10); err != nil {
		return nil, err
	}
	one := join(a.world, a.group, topic, kgo.ClientID("someone"))
	if err := until(ctx, "all partitions", one.has(describedPartitions)); err != nil {
		return nil, err
	}
	one.client.CommitOffsetsSync(ctx, map[string]map[int32]kgo.EpochOffset{topic: {0: {Epoch: -1, Offset: 3}}}, nil)
	return one, nil
}

func (a *administration) list(ctx context.Context) (string, error) {
	all, err := a.admin.ListGroups(ctx)
	if err != nil {
		return "", err
	}
	return "", equal(all[a.group].State, "Stable", "its state")
}

func (a *administration) describe(ctx context.Context) (string, error) {
	all, err := a.admin.DescribeGroups(ctx, a.group)
	if err != nil {
		return "", err
	}
	found := all[a.group]
	if found.Err != nil {
		return "", found.Err
	}
	if err := equal(len(found.Members), 1, "the number of members"); err != nil {
		return "", err
	}
	one := found.Members[0]
	assigned := found.AssignedPartitions()
	offsets, err := a.admin.FetchOffsets(ctx, a.group)
	if err != nil {
		return "", err
	}
	committed, _ := offsets.Lookup(a.topicName, 0)
	return "", firstOf(
		equal(found.State, "Stable", "the state"),
		equal(found.Protocol, "range", "the protocol"),
		equal(one.ClientID, "someone", "the member's client id"),
		equal(one.ClientHost, "/127.0.0.1", "its host"),
		equal(len(assigned[a.topicName]), describedPartitions, "the number of its partitions"),
		equal(committed.At, 3, "the committed offset"),
	)
}

func (a *administration) describeUnknown(ctx context.Context) (string, error) {
	unknown := a.name("unknown")
	all, err := a.admin.DescribeGroups(ctx, unknown)
	if err != nil {
		return "", err
	}
	return "state " + all[unknown].State, all[unknown].Err
}

func (a *administration) deleteGroup(group string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		done, err := a.admin.DeleteGroup(ctx, group)
		return "", firstOf(err, done.Err)
	}
}

func (a *administration) delete(ctx context.Context) (string, error) {
	second := kadm.Offsets{}
	second.Add(kadm.Offset{Topic: a.topicName, Partition: 1, At: 2, LeaderEpoch: -1})
	if err := a.admin.CommitAllOffsets(ctx, a.group, second); err != nil {
		return "", err
	}
	done, err := a.admin.DeleteOffsets(ctx, a.group, kadm.TopicsSet{a.topicName: {0: {}}})
	if err := firstOf(err, done[a.topicName][0]); err != nil {
		return "", err
	}
	left, err := a.admin.FetchOffsets(ctx, a.group)
	if err != nil {
		return "", err
	}
	if err := equal(len(left[a.topicName]), 1, "the number of committed offsets"); err != nil {
		return "", err
	}
	if _, err := a.deleteGroup(a.group)(ctx); err != nil {
		return "", err
	}
	return "and DeleteOffsets", until(ctx, "gone", func() (bool, error) {
		all, err := a.admin.ListGroups(ctx)
		_, listed := all[a.group]
		return !listed, err
	})
}

func (a *administration) elect(ctx context.Context) (string, error) {
	results, err := a.admin.ElectLeaders(ctx, kadm.ElectPreferredReplica, kadm.TopicsSet{a.topicName: {0: {}}})
	if err != nil {
		return "", err
	}
	return "", results[a.topicName][0].Err
}

func (a *administration) reassignments(ctx context.Context) (string, error) {
	request := kmsg.NewPtrListPartitionReassignmentsRequest()
	request.TimeoutMillis = 10_000
	found, err := request.RequestWith(ctx, a.client)
	if err != nil {
		return "", err
	}
	return "", firstOf(
		kerr.ErrorForCode(found.ErrorCode), equal(len(found.Topics), 0, "the number of topics under way"))
}

func (a *administration) acls(ctx context.Context) (string, error) {
	request := kmsg.NewPtrDescribeACLsRequest()
	request.ResourceType = kmsg.ACLResourceTypeAny
	request.ResourcePatternType = kmsg.ACLResourcePatternTypeAny
	request.Operation = kmsg.ACLOperationAny
	request.PermissionType = kmsg.ACLPermissionTypeAny
	found, err := request.RequestWith(ctx, a.client)
	if err != nil {
		return "", err
	}
	if err := kerr.ErrorForCode(found.ErrorCode); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d resources", len(found.Resources)), nil
}
